"""Compressions at densities: each is trained and measured once, and kept in a file while it goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from upscale_onnx.condensa.goals import Goal
from upscale_onnx.condensa.layers import Layer, layer_weights
from upscale_onnx.condensa.lc import LC, Iterate, first_iterate, next_iterate
from upscale_onnx.condensa.learner import Data, StateFile, TorchLearner, packed, unpacked
from upscale_onnx.condensa.schemes import Scheme, Weights
from upscale_onnx.options.groups import Prefer
from upscale_onnx.pipeline import compile
from upscale_onnx.types import Array, Progress
from upscale_onnx.unstructured.zeros import write_zeros


@dataclass(frozen=True, eq=False)
class Trial:
    """A compressed model. value: of the objective, before and after; None where the accuracy is below the floor."""

    density: float
    accuracy: float
    value: tuple[float, float] | None
    distance: float
    model: onnx.ModelProto

    @property
    def after(self) -> float:
        """The value of the compressed model, where it was measured."""
        return math.nan if self.value is None else self.value[1]


@dataclass(eq=False)
class Trials:
    """The trials of `scheme` on `model`. judge: top-1 of a model. floor: the least accuracy that is enough.

    expected: how many there will be, for the progress. done: the trials, by density and optimiser. measured: values of
        the objective without training, by density.
    """

    model: onnx.ModelProto
    layers: Sequence[Layer]
    scheme: Scheme
    goal: Goal
    data: Data
    judge: Callable[[onnx.ModelProto], float]
    file: StateFile
    tell: Progress
    expected: int
    before: float = 0.0
    floor: float = 0.0
    done: dict[str, Trial] = field(default_factory=dict)
    measured: dict[float, tuple[float, float]] = field(default_factory=dict)
    running: dict[str, Any] | None = None

    def begin(self, eps: float) -> None:
        """Begin, or go on from the file."""
        saved = self.file.read()
        if saved is not None:
            self.measured = {key: (value[0], value[1]) for key, value in saved["measured"].items()}
            self.done = {key: _loaded(row, self.model) for key, row in saved["done"].items()}
            self.running = saved["running"]
        self.before = self.judge(self.model) if saved is None else saved["before"]
        self.floor = (1.0 - eps) * self.before

    @property
    def within(self) -> list[Trial]:
        """The trials that are accurate enough."""
        return [trial for trial in self.done.values() if trial.value is not None]

    def at(self, density: float, lc: LC) -> Trial:
        """The trial at `density`, trained by `lc`."""
        key = f"{density} {lc}"
        if key not in self.done:
            self.done[key] = self._made(key, density, lc)
            self.running = None
            self._save()
        return self.done[key]

    def value_at(self, density: float) -> tuple[float, float]:
        """The objective's values before and after, for weights that are compressed without training."""
        if density not in self.measured:
            masks = self.scheme.at(density).masks(layer_weights(self.model, self.layers), self.layers)
            made = smaller(write_zeros(self.model, masks), self.goal)
            self.measured[density] = self.goal.objective.measure(self.model, made)
            self._save()
        return self.measured[density]

    def _made(self, key: str, density: float, lc: LC) -> Trial:
        scheme = self.scheme.at(density)

        def compressed(weights: Weights) -> dict[str, Array]:
            return scheme.compress(weights, self.layers)

        def told(share: float) -> None:
            self._told(density, iterate.step + share, lc)

        learner = TorchLearner.of(self.model, self.data, lc, told)
        if self.running is not None and self.running["key"] == key:
            iterate = unpacked(learner, self.running)
        else:
            iterate = first_iterate(learner.weights(), compressed)
        while iterate.step < lc.steps:
            iterate = next_iterate(learner, iterate, lc.mu_at(iterate.step), compressed)
            self.running = {"key": key, **packed(learner, iterate)}
            self._save()
        return self._judged(density, iterate, self._tuned(learner.model(iterate.theta), lc))

    def _tuned(self, model: onnx.ModelProto, lc: LC) -> onnx.ModelProto:
        """`model` after the last epochs, in which zeros stay zeros."""
        learner = TorchLearner.of(model, self.data, lc, lambda share: None)
        learner.train(0, lc.tune)
        return learner.model()

    def _judged(self, density: float, iterate: Iterate, model: onnx.ModelProto) -> Trial:
        accuracy, value = self.judge(model), None
        if accuracy >= self.floor:
            value = self.goal.objective.measure(self.model, smaller(model, self.goal))
        return Trial(density, accuracy, value, iterate.distance, model)

    def _told(self, density: float, step: float, lc: LC) -> None:
        share = (len(self.done) + step / lc.steps) / max(self.expected, len(self.done) + 1)
        self.tell(f"density {density:.3g}, L-C step {math.ceil(step)}/{lc.steps}", share)

    def _save(self) -> None:
        done = {key: _saved(trial) for key, trial in self.done.items()}
        measured = {key: list(pair) for key, pair in self.measured.items()}
        self.file.write({"before": self.before, "done": done, "measured": measured, "running": self.running})


def smaller(model: onnx.ModelProto, goal: Goal, verify: bool = False) -> onnx.ModelProto:
    """The compiled `model`. verify: whether it is proven equal."""
    prefer: Prefer = "speed" if goal.objective.is_timed else "size"
    return compile(model, race=False, verify=verify, prefer=prefer).model


def _saved(trial: Trial) -> dict[str, Any]:
    # Models that cannot be chosen are not kept.
    model = None if trial.value is None else trial.model.SerializeToString()
    value = None if trial.value is None else list(trial.value)
    row = {"density": trial.density, "accuracy": trial.accuracy, "value": value, "distance": trial.distance}
    return {**row, "model": model}


def _loaded(row: dict[str, Any], given: onnx.ModelProto) -> Trial:
    value = None if row["value"] is None else (row["value"][0], row["value"][1])
    model = onnx.ModelProto.FromString(row["model"]) if row["model"] else given
    return Trial(row["density"], row["accuracy"], value, row["distance"], model)
