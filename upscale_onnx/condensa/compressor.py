"""The compressor: it searches for the density that the accuracy allows, and compresses by the L-C algorithm.

The paper searches on two levels: first the sparsity at which the accuracy is as low as it may be, then, among those
below it, the one of the best objective. Here one search does both. Every sample is trained by the optimiser and judged,
as in the paper, and the objective is measured on each that is accurate enough; the best of them is the result. So what
is returned has been measured, whatever the model of the search believes, and no training is thrown away. A second
search would gain nothing: no objective here is better at a higher density, but for noise.

Source: Joseph et al., "A Programmable Approach to Model Compression", 2019, the sections on its optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx

from upscale_onnx.condensa.goals import Constrain, Goal
from upscale_onnx.condensa.layers import layer_weights, layers_of
from upscale_onnx.condensa.lc import LC
from upscale_onnx.condensa.learner import StateFile, judge_of, read_data
from upscale_onnx.condensa.level_set import crossing
from upscale_onnx.condensa.outcome import Compressed, Statistics, Tried
from upscale_onnx.condensa.schemes import Compose, Scheme
from upscale_onnx.condensa.trials import Trial, Trials, smaller
from upscale_onnx.errors import ArgumentError, LossError
from upscale_onnx.measures.accuracy import Preprocessing
from upscale_onnx.model import load_model
from upscale_onnx.options.checking import check_group
from upscale_onnx.options.ranges import FRACTION, POSITIVE, SHARE
from upscale_onnx.types import Progress


@dataclass(frozen=True)
class Compressor:
    """Compresses `model` by `scheme`, so that its accuracy is at least 1 - eps of what it was.

    objective: `Maximize` or `Minimize` one, or `Constrain` it. scheme: one, or several that are composed. Densities
        that it leaves open are one number, which is searched for.
    data, val: training and validation data, as `finetune` takes them. limit: judge on that many images.
    samples, tolerance: how many densities are tried at most, and how well the best one is to be known.
    sampling: the optimiser of the samples, if `optimizer` is to train the chosen one only.
    state: path of a file that holds the state after each step. Where it is there, the compression goes on from it, and
        the result is the same as without an interruption.

    >>> from upscale_onnx import condensa
    >>> compressor = condensa.Compressor(
    ...     model="models/digits_cnet_masked.onnx",
    ...     objective=condensa.Minimize(condensa.Size()),
    ...     eps=0.02,
    ...     optimizer=condensa.LC(steps=5, batch=64),
    ...     scheme=condensa.FilterPrune(),
    ...     data="models/digits_test.npz",
    ...     val="models/digits_test.npz",
    ... )
    >>> compressor.samples  # the most densities that `compressor.run()` tries
    10
    """

    model: str | Path | onnx.ModelProto
    objective: Goal
    eps: Annotated[float, FRACTION]
    optimizer: LC
    scheme: Scheme | Sequence[Scheme]
    data: str
    val: str
    preprocessing: Preprocessing | None = None
    limit: Annotated[int, POSITIVE] | None = None
    samples: Annotated[int, POSITIVE] = 10
    tolerance: Annotated[float, SHARE] = 0.02
    sampling: LC | None = None
    state: str | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        for name, kind, example in (
            ("objective", Goal, "Maximize(Throughput())"),
            ("optimizer", LC, "LC(steps=30, lr=0.01)"),
        ):
            if not isinstance(getattr(self, name), kind):
                raise ArgumentError(f"{name} is {getattr(self, name)!r}: give one such as {example}")
        check_group(self)

    def run(self) -> Compressed:
        """The compressed model, and what is known of it.

        Raises:
            ArgumentError: a setting or the data cannot be used, or the constraint cannot be reached.
            ModelError: the model cannot be read, run or trained.
            LossError: no density that was tried keeps the accuracy.
        """
        trials = self._trials()
        chosen = self._chosen(trials)
        if self.sampling is not None and trials.scheme.is_open:
            # The sample is kept where longer training makes it no better: it is accurate enough already.
            longer = trials.at(chosen.density, self.optimizer)
            chosen = max([chosen, *self._allowed([longer])], key=lambda trial: trial.accuracy)
        return self._result(trials, chosen)

    def _trials(self) -> Trials:
        model = load_model(self.model)
        scheme = self.scheme if isinstance(self.scheme, Scheme) else Compose(self.scheme)
        layers = layers_of(model)
        scheme.at(1.0).masks(layer_weights(model, layers), layers)  # names are checked before any work
        pixels = self.preprocessing or Preprocessing()
        data = read_data(model, self.data, pixels, self.optimizer.batch)
        judge = judge_of(model, self.val, data, self.optimizer, pixels, self.limit)
        settings = (self.objective, self.eps, self.optimizer, scheme, self.val, self.limit, self.samples)
        file = StateFile(self.state, model, data, *settings, self.tolerance, self.sampling)
        tell = self.progress or (lambda stage, share: None)
        trials = Trials(model, layers, scheme, self.objective, data, judge, file, tell, self.samples)
        trials.begin(self.eps)
        return trials

    def _chosen(self, trials: Trials) -> Trial:
        """The best of the trials that are accurate enough, which are made here."""
        lc = self.sampling or self.optimizer
        if not trials.scheme.is_open:
            trials.at(1.0, self.optimizer)
        elif isinstance(self.objective, Constrain):
            self._constrained(trials, self.objective, lc)
        else:
            ends = (trials.before - trials.floor, -trials.floor)
            crossing(
                lambda x: trials.at(round(1.0 - x, 4), lc).accuracy - trials.floor, ends, self.samples, self.tolerance
            )
        if not trials.within:
            raise LossError(_too_much_lost(trials))
        allowed = self._allowed(trials.within)
        if not allowed:
            raise ArgumentError(_not_reached(self.objective, [trial.after for trial in trials.within]))
        if isinstance(self.objective, Constrain):
            return max(allowed, key=lambda trial: trial.density)
        return max(allowed, key=lambda trial: (self.objective.gain(trial.after), -trial.density))

    def _constrained(self, trials: Trials, goal: Constrain, lc: LC) -> None:
        """Train at the largest density that keeps the bound.

        It is searched for without training, which hardly moves an objective. Where it does, so that the trained model
        misses the bound, the density is lowered by as much.
        """

        def margin(density: float) -> float:
            return goal.margin(trials.value_at(density)[1])

        full = margin(1.0)
        if full < 0:
            crossing(margin, (1.0, full), self.samples, self.tolerance)
        keeping = [density for density, (_, value) in trials.measured.items() if goal.allows(value)]
        if not keeping:
            raise ArgumentError(_not_reached(goal, [value for _, value in trials.measured.values()]))
        density = max(keeping)
        for _ in range(self.samples):
            trial = trials.at(density, lc)
            if trial.value is None or goal.allows(trial.after):
                return
            density = round(density * (1.0 - max(-goal.margin(trial.after), self.tolerance)), 4)

    def _allowed(self, trials: Sequence[Trial]) -> list[Trial]:
        return [trial for trial in trials if trial.value is not None and self.objective.allows(trial.after)]

    def _result(self, trials: Trials, chosen: Trial) -> Compressed:
        assert chosen.value is not None  # only such are chosen
        arrays = layer_weights(chosen.model, trials.layers)
        names = trials.scheme.at(1.0).masks(arrays, trials.layers)
        weights = {name: arrays[name] for name in names if arrays[name].ndim >= 2}
        left = {name: int(np.count_nonzero(array)) for name, array in weights.items()}
        statistics = Statistics(
            density=chosen.density if trials.scheme.is_open else None,
            densities={name: left[name] / array.size for name, array in weights.items()},
            overall=sum(left.values()) / sum(array.size for array in weights.values()),
            accuracy=(trials.before, chosen.accuracy),
            objective=self.objective.name,
            unit=self.objective.objective.unit,
            value=chosen.value,
            tried=tuple(
                Tried(one.density, one.accuracy, one.value and one.value[1], one.distance)
                for one in trials.done.values()
            ),
        )
        return Compressed(chosen.model, smaller(chosen.model, self.objective, verify=True), statistics)


def _not_reached(goal: Goal, values: Sequence[float]) -> str:
    bound = f"{goal.value:g} " if isinstance(goal, Constrain) else ""
    best = max(values, key=goal.gain)
    return f"{goal.name} does not reach {bound}{goal.objective.unit}: the best density that was tried gives {best:g}"


def _too_much_lost(trials: Trials) -> str:
    best = max(trials.done.values(), key=lambda trial: trial.accuracy)
    if not trials.scheme.is_open:
        found = f"the scheme keeps {best.accuracy:.1%} accuracy, less than {trials.floor:.1%}:"
    else:
        found = f"no density that was tried keeps {trials.floor:.1%}: {best.density:.3g} keeps {best.accuracy:.1%};"
    return f"{found} allow a larger eps, or take more steps"
