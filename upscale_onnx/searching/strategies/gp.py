"""Bayesian optimisation with a Gaussian process.

Source: Jones et al., "Efficient Global Optimization of Expensive Black-Box Functions", 1998; it needs PyTorch.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from upscale_onnx.errors import ArgumentError
from upscale_onnx.searching.journal import optuna
from upscale_onnx.searching.strategies.registry import Setting
from upscale_onnx.searching.strategies.sampled import Sampled, violations

_WINDOW = 60


def make(setting: Setting) -> Sampled:
    """The strategy.

    Raises: ArgumentError where PyTorch is missing.
    """
    if importlib.util.find_spec("torch") is None:
        raise ArgumentError("strategy gp needs PyTorch: pip install 'upscale-onnx[torch]'")

    def sampler(seed: int, constrained: bool) -> Any:
        told = violations if constrained else None
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=1, constraints_func=told)

    from upscale_onnx.torch_backend.threads import torch_threads

    return Sampled("gp", sampler, setting, _WINDOW, around=lambda: torch_threads(1))
