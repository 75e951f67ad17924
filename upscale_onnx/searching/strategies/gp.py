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

_WINDOW = 30
# Points that are drawn where the next profile is looked for, and how many of them are climbed from. optuna's own 2,048
# and 10 take twice as long, and find no better profiles.
_POINTS, _CLIMBS = 256, 4


def make(setting: Setting) -> Sampled:
    """The strategy.

    Raises: ArgumentError where PyTorch is missing.
    """
    if importlib.util.find_spec("torch") is None:
        raise ArgumentError("strategy gp needs PyTorch: pip install 'upscale-onnx[torch]'")

    def sampler(seed: int, constrained: bool) -> Any:
        told = violations if constrained else None
        made = optuna.samplers.GPSampler(seed=seed, n_startup_trials=1, constraints_func=told)
        made._n_preliminary_samples, made._n_local_search = _POINTS, _CLIMBS  # there is no public way
        return made

    from upscale_onnx.torch_backend.threads import torch_threads

    return Sampled("gp", sampler, setting, _WINDOW, is_kept=True, around=lambda: torch_threads(1))
