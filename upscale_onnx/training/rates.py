"""Learning rates by step."""

from __future__ import annotations

import math

from upscale_onnx.training.settings import Training

# The share of the steps in which one cycle's rate rises, and the rates at its start and its end relative to the peak.
_RISE, _START, _END = 0.25, 1 / 25, 1e-4


def rate_at(step: int, steps: int, settings: Training) -> float:
    """The learning rate of step `step`, from 0, of `steps`.

    Source: one cycle, Smith and Topin, "Super-Convergence", 2019; cosine, Loshchilov and Hutter, "SGDR", ICLR 2017,
    eq. 5, without restarts.
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
