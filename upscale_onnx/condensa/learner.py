"""How the compressor uses the training package: all of it is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx

from upscale_onnx.condensa.lc import LC, Iterate
from upscale_onnx.measures.accuracy import Preprocessing
from upscale_onnx.torch_backend.values import array, from_array
from upscale_onnx.training.checkpoint import identity, load_state, save_state
from upscale_onnx.training.images import TrainingData, training_data
from upscale_onnx.training.judging import Judge, judge_on
from upscale_onnx.training.settings import Training
from upscale_onnx.training.trainer import Trainer
from upscale_onnx.types import Array

Told = Callable[[float], None]
Data: TypeAlias = TrainingData


@dataclass(frozen=True, eq=False)
class TorchLearner:
    """Trains a model. told: is called with the share of the epochs of a step that are over."""

    trainer: Trainer
    epochs: int
    told: Told

    @classmethod
    def of(cls, model: onnx.ModelProto, data: Data, lc: LC, told: Told) -> TorchLearner:
        """The learner of `model`."""
        settings = Training(
            epochs=max(lc.steps * lc.epochs, lc.tune, 1),
            batch=lc.batch,
            rate=lc.lr,
            momentum=lc.momentum,
            weight_decay=lc.weight_decay,
            schedule="constant",
            seed=lc.seed,
            threads=lc.threads,
        )
        return cls(Trainer(model, data, settings), lc.epochs, told)

    def weights(self) -> dict[str, Array]:
        """The weights by name."""
        return self.trainer.weights()

    def learn(self, step: int, goal: Mapping[str, Array], mu: float) -> None:
        """Train with mu/2 times the squared distance from `goal` added to the loss, for the epochs of a step."""
        goals = {name: from_array(value) for name, value in goal.items()}

        def penalty(weights: Mapping[str, Any]) -> Any:
            return sum(((weights[name] - value) ** 2).sum() for name, value in goals.items()) * (mu / 2)

        self.trainer.penalty = penalty
        self.train(step * self.epochs, self.epochs)

    def train(self, first: int, count: int) -> None:
        """Train for `count` epochs, of which the first has the number `first`."""
        for index in range(count):
            self.trainer.epoch(first + index)
            self.told((index + 1) / count)

    def model(self, weights: Mapping[str, Array] | None = None) -> onnx.ModelProto:
        """The model as it is now, with `weights` in place of its own."""
        if weights is not None:
            self.trainer.replace(weights)
        return self.trainer.model()


def packed(learner: TorchLearner, iterate: Iterate) -> dict[str, Any]:
    """What `unpacked` needs to go on from here."""
    return {
        "trainer": learner.trainer.state(),
        "step": iterate.step,
        "theta": {name: from_array(value) for name, value in iterate.theta.items()},
        "multipliers": {name: from_array(value) for name, value in iterate.multipliers.items()},
        "distance": iterate.distance,
    }


def unpacked(learner: TorchLearner, state: Mapping[str, Any]) -> Iterate:
    """Bring the learner back to where it was, and return the iterate."""
    learner.trainer.restore(state["trainer"])
    theta, multipliers = ({n: array(v) for n, v in state[key].items()} for key in ("theta", "multipliers"))
    return Iterate(state["step"], theta, multipliers, state["distance"])


def read_data(model: onnx.ModelProto, data: str, preprocessing: Preprocessing, batch: int) -> Data:
    """The training data in `data`. Raises: ArgumentError where it cannot be used."""
    return training_data(model, data, preprocessing, "none", batch)


def judge_of(
    model: onnx.ModelProto, val: str, data: Data, lc: LC, preprocessing: Preprocessing, limit: int | None
) -> Judge:
    """A function that returns the accuracy of variants of `model` on `val`.

    Raises: ArgumentError where `val` cannot be used.
    """
    return judge_on(val, model, data, Training(seed=lc.seed, threads=lc.threads), preprocessing, limit)


class StateFile:
    """A file that holds where a compression stands; without a path, nothing is kept."""

    def __init__(self, path: str | None, model: onnx.ModelProto, data: Data, *others: object) -> None:
        self._path = path
        self._identity = {} if path is None else identity(model, data, Training(), None, *others)

    def read(self) -> dict[str, Any] | None:
        """What was written last. Raises: ArgumentError where the file is that of another compression."""
        return None if self._path is None else load_state(self._path, self._identity)

    def write(self, state: Mapping[str, Any]) -> None:
        """Write `state`, whole or not at all."""
        if self._path is not None:
            save_state(self._path, {"identity": dict(self._identity), **state})
