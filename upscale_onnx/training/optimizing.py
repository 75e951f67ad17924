"""Optimisers, and learning rates by step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from upscale_onnx.torch_backend.values import Tensor
from upscale_onnx.training.settings import Training

# The share of the steps in which one cycle's rate rises, and the rates at its start and its end relative to the peak.
_RISE, _START, _END = 0.25, 1 / 25, 1e-4


def rate_at(step: int, steps: int, settings: Training) -> float:
    """The learning rate of step `step`, from 0, of `steps`.

    "one-cycle" rises for a quarter of the steps and falls to almost nothing, along cosines (Smith and Topin,
    "Super-Convergence", 2019). "cosine" falls to 0 (Loshchilov and Hutter, "SGDR", ICLR 2017, eq. 5, without restarts).
    "step" falls to a tenth at half and again at three quarters (He et al., CVPR 2016, section 4.2).
    """
    done = step / max(steps - 1, 1)
    if settings.schedule == "constant":
        return settings.rate
    if settings.schedule == "step":
        return settings.rate * 0.1 ** ((done >= 0.5) + (done >= 0.75))
    if settings.schedule == "cosine":
        return settings.rate * _cosine(1.0, 0.0, done)
    if done < _RISE:
        return settings.rate * _cosine(_START, 1.0, done / _RISE)
    return settings.rate * _cosine(1.0, _END, (done - _RISE) / (1.0 - _RISE))


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * done)) / 2.0


def optimizer_of(settings: Training, trained: Iterable[Tensor]) -> torch.optim.Optimizer:
    """The optimiser of `trained`, which updates all tensors by one kernel."""
    values, rate, decay = list(trained), settings.rate, settings.weight_decay
    if settings.optimizer == "sgd":
        momentum = settings.momentum
        nesterov = settings.nesterov and momentum > 0
        return torch.optim.SGD(values, rate, momentum, weight_decay=decay, nesterov=nesterov, fused=True)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(values, rate, weight_decay=decay, fused=True)


def state_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What `load_state_dict` of an optimiser takes, in memory of the processor."""
    whole = optimizer.state_dict()
    moved = {
        number: {name: value.cpu() if isinstance(value, torch.Tensor) else value for name, value in each.items()}
        for number, each in whole["state"].items()
    }
    return {**whole, "state": moved}
