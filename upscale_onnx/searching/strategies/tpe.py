"""The tree-structured Parzen estimator.

Source: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011; with one estimate of all shares
together, Falkner et al., "BOHB", ICML 2018.
"""

from __future__ import annotations

from typing import Any

from upscale_onnx.searching.journal import optuna
from upscale_onnx.searching.strategies.registry import Setting
from upscale_onnx.searching.strategies.sampled import Sampled, violations

_WINDOW = 400


def make(setting: Setting) -> Sampled:
    """The strategy."""

    def sampler(seed: int, constrained: bool) -> Any:
        told = violations if constrained else None
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=1, constraints_func=told)

    return Sampled("tpe", sampler, setting, _WINDOW)
