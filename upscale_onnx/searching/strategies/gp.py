"""Bayesian optimisation with a Gaussian process.

A fit takes as long with many finished trials as with few, since it looks at a window of them. But a search of many
trials is not to spend its time on fits. So the more trials there are, the more profiles come of one: the best, and some
around it.

Source: Jones et al., "Efficient Global Optimization of Expensive Black-Box Functions", 1998; it needs PyTorch.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.searching.journal import optuna
from upscale_onnx.searching.strategies.registry import Setting
from upscale_onnx.searching.strategies.sampled import Sampled, violations
from upscale_onnx.searching.trials import History, Proposal, Shares
from upscale_onnx.types import FloatArray

_WINDOW = 30
# Points that are drawn where the next profile is looked for, and how many of them are climbed from. optuna's own 2,048
# and 10 take twice as long, and find no better profiles.
_POINTS, _CLIMBS = 256, 4
# A fit proposes one more profile for each so many finished trials, up to the most.
_TRIALS, _MOST = 300, 10
# The deviations of normal steps from the best profile, as powers of ten: from 0.01 to 0.3.
_STEPS = (-2.0, -0.5)


@dataclass
class Batch:
    """The profiles of one fit. count: how many it is to propose. waiting: those beside the best, which comes first."""

    count: int = 1
    waiting: list[Shares] = field(default_factory=list)


class Sampler(optuna.samplers.GPSampler):
    """optuna's, which fills a batch."""

    def __init__(self, batch: Batch, seed: int, constrained: bool) -> None:
        super().__init__(seed=seed, n_startup_trials=1, constraints_func=violations if constrained else None)
        self._n_preliminary_samples, self._n_local_search = _POINTS, _CLIMBS  # there is no public way
        self._batch = batch

    def _optimize_acqf(self, acqf: Any, best_params: FloatArray | None) -> FloatArray:
        best: FloatArray = super()._optimize_acqf(acqf, best_params)
        if self._batch.count > 1:
            self._batch.waiting = [tuple(point.tolist()) for point in self._around(best, acqf)]
        return best

    def _around(self, best: FloatArray, acqf: Any) -> FloatArray:
        """Points around the best, `(points, decisions)`, drawn without replacement in proportion to what is expected of
        each: the largest of logarithms with Gumbel's noise are such a draw."""
        rng = self._rng.rng
        deviations = 10 ** rng.uniform(*_STEPS, size=(_POINTS, 1))
        points = np.clip(best + deviations * rng.normal(size=(_POINTS, best.size)), 0, 1)
        order = np.argsort(acqf.eval_acqf_no_grad(points) + rng.gumbel(size=_POINTS))
        return np.asarray(points[order[1 - self._batch.count :]])


class Gaussian:
    """Proposes what a Gaussian process expects most of."""

    def __init__(self, setting: Setting) -> None:
        from upscale_onnx.torch_backend.threads import torch_threads

        self._batch = Batch()
        make = partial(Sampler, self._batch)
        self._sampled = Sampled("gp", make, setting, _WINDOW, is_kept=True, around=lambda: torch_threads(1))

    def propose(self, history: History, number: int) -> Proposal:
        """As `Strategy` says."""
        if self._batch.waiting:
            return Proposal(self._batch.waiting.pop(), "gp", seed=number)
        self._batch.count = min(1 + len(history.finished) // _TRIALS, _MOST)
        return self._sampled.propose(history, number)


def make(setting: Setting) -> Gaussian:
    """The strategy.

    Raises: ArgumentError where PyTorch is missing.
    """
    if importlib.util.find_spec("torch") is None:
        raise ArgumentError("strategy gp needs PyTorch: pip install 'upscale-onnx[torch]'")
    return Gaussian(setting)
