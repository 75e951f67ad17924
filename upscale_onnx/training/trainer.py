"""Trains a model for an epoch at a time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import onnx
import torch

from upscale_onnx.errors import ArgumentError
from upscale_onnx.torch_backend.devices import computing_on, device_of
from upscale_onnx.torch_backend.planned import PlannedNetwork
from upscale_onnx.torch_backend.threads import torch_threads
from upscale_onnx.torch_backend.values import NoGradientError, Tensor, array
from upscale_onnx.training.images import TrainingData, only_input
from upscale_onnx.training.initial import drawn_anew
from upscale_onnx.training.losses import Penalty, as_logits, l1_penalty, last_operator, training_loss
from upscale_onnx.training.norms import norm_nodes
from upscale_onnx.training.optimizing import optimizer_of, rate_at, state_of
from upscale_onnx.training.parameters import Parameters
from upscale_onnx.training.rules import inference, overrides
from upscale_onnx.training.settings import Training
from upscale_onnx.training.unfolding import estimate
from upscale_onnx.types import Array, BoolArray

_ESTIMATED = 8  # batches that the statistics of unfolded norms are estimated on
_SPREAD = 100_003  # between the seeds of two trainings, so that their epochs differ

Told = Callable[[float, float, float], None]
"""A function of the share of the epoch that is done, and its mean loss and accuracy so far."""
BeforeStep = Callable[[int], None]
"""A function that is called before each step of the training with the number of steps done."""


@dataclass(frozen=True)
class Fit:
    """The mean loss and the share of correct classes, 0 to 1, over the batches of an epoch."""

    loss: float
    accuracy: float


class Trainer:
    """The training of `model` on `data`.

    teacher: a model of the same input whose scores are learned, too.
    penalty: may be set at any time. kept_by_dropout: factors of the ratios of Dropout nodes, by their output.

    Raises: ArgumentError where the model cannot be trained, the data do not fit, or there is no such device.
    """

    def __init__(
        self, model: onnx.ModelProto, data: TrainingData, settings: Training, teacher: onnx.ModelProto | None = None
    ) -> None:
        self.data, self.settings, self._device = data, settings, device_of(settings.device)
        self.kept_by_dropout: dict[str, float] = {}
        is_new, statistics = settings.init == "random", settings.norms != "freeze"
        start = drawn_anew(model, settings.seed, norms=statistics) if is_new else model
        self.penalty: Penalty | None = None
        with self._computing():
            self.parameters = Parameters(start, settings.norms)
            if self.parameters.unfolded:
                batches = data.epoch(torch.Generator().manual_seed(settings.seed), self._device)
                estimate(self.parameters, data.name, [x for x, _ in islice(batches, _ESTIMATED)], fresh=is_new)
            rules = overrides(self.parameters.unfolded, self.kept_by_dropout, statistics=statistics)
            example = {data.name: data.first().to(self._device)}
            try:
                self._network = PlannedNetwork(start, self.parameters.live, example, rules)
            except NoGradientError as error:
                raise ArgumentError(f"the model cannot be trained: {error.what}") from error
            self._teacher = None if teacher is None else _Teacher(teacher, example)
        if settings.l1:
            kinds = self.parameters.learned
            self.penalty = l1_penalty(settings.l1, [name for name in self.names if kinds[name].kind == "weight"])
        self._last = last_operator(model)
        self._check()
        self._optimizer = optimizer_of(settings, self.parameters.trained.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that are trained."""
        return tuple(self.parameters.weights)

    def epoch(self, number: int, told: Told | None = None, before: BeforeStep | None = None) -> Fit:
        """Train for one epoch, which is `number`, from 0. What is random depends on it and the seed alone.

        Raises: ArgumentError where the loss is no finite number.
        """
        settings, data, total, correct = self.settings, self.data, 0.0, 0
        seed = settings.seed * _SPREAD + number
        generator, first = torch.Generator().manual_seed(seed), number * data.steps
        drawn_on = [torch.cuda.current_device()] if self._device.type == "cuda" else []
        with self._computing(), torch.random.fork_rng(devices=drawn_on):
            torch.manual_seed(seed)  # of dropout
            for step, (x, labels) in enumerate(data.epoch(generator, self._device)):
                if before is not None:
                    before(first + step)
                loss, hits = self._step(x, labels, rate_at(first + step, settings.epochs * data.steps, settings))
                if not math.isfinite(loss):
                    raise ArgumentError(
                        f"the loss is not finite in epoch {number + 1}: lower the learning rate, now {settings.rate:g}"
                    )
                total, correct = total + loss, correct + hits
                if told is not None:
                    told((step + 1) / data.steps, total / (step + 1), correct / ((step + 1) * data.batch))
        return Fit(total / data.steps, correct / (data.steps * data.batch))

    def model(self) -> onnx.ModelProto:
        """The model with the weights and statistics as they are now."""
        return self.parameters.written()

    def weights(self) -> dict[str, Array]:
        """Copies of the weights by name, as float32."""
        return {name: np.array(array(value)) for name, value in self.parameters.weights.items()}

    def replace(self, weights: Mapping[str, Array], kept: Mapping[str, BoolArray] | None = None) -> None:
        """Give weights other values. kept: by name, the entries that may change from now on; None changes nothing."""
        with self._computing():
            self.parameters.replace(weights, kept)

    def state(self) -> dict[str, Any]:
        """What `restore` takes to go on as if there had been no interruption."""
        return {**self.parameters.state(), "optimizer": state_of(self._optimizer)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        with self._computing():
            self.parameters.restore(state)
        self._optimizer.load_state_dict(state["optimizer"])

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        with torch_threads(self.settings.threads), computing_on(self._device):
            yield

    def _step(self, x: Tensor, labels: Tensor, rate: float) -> tuple[float, int]:
        self._optimizer.zero_grad()
        taught = None if self._teacher is None else self._teacher.scores(x)
        scores = self._scores(x)
        loss = training_loss(scores, labels, taught, self.settings)
        value = loss.item()
        if not math.isfinite(value):
            return value, 0
        torch.autograd.backward(loss if self.penalty is None else loss + self.penalty(self.parameters.weights))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self.parameters.keep_held()
        return value, int((scores.detach().argmax(dim=1) == labels).sum())

    def _scores(self, x: Tensor) -> Tensor:
        try:
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
                return as_logits(self._network(x)[0], self._last)
        except ValueError as error:  # torch's words for statistics of a single number
            raise ArgumentError(f"the model cannot be trained in batches of {self.data.batch}: {error}") from error

    def _check(self) -> None:
        shape, batch = self._network.shapes[0], self.data.batch
        if batch == 1 and self.settings.norms != "freeze" and norm_nodes(self.parameters.model):
            raise ArgumentError("batches of one sample give norms no statistics: freeze the norms, or take larger ones")
        if shape[:1] != (batch,) or sum(size > 1 for size in shape[1:]) != 1:
            raise ArgumentError(
                f"the model's first output is {shape} for {batch} samples: it takes one score per sample and class"
            )
        if not self._network.has_gradient:
            raise ArgumentError("the model's first output depends on no weight that could be trained")
        if self._teacher is not None and self._teacher.shape != shape:
            raise ArgumentError(f"the teacher's first output is {self._teacher.shape}, the model's is {shape}")
        low, high, classes = int(self.data.labels.min()), int(self.data.labels.max()), math.prod(shape[1:])
        if self.data.is_labelled and not 0 <= low <= high < classes:
            raise ArgumentError(f"labels reach from {low} to {high}, the model has {classes} classes")


class _Teacher:
    """A model whose scores are learned. Raises: ArgumentError where it cannot be run."""

    def __init__(self, model: onnx.ModelProto, example: Mapping[str, Tensor]) -> None:
        (x,) = example.values()
        try:
            self._network = PlannedNetwork(model, {}, {only_input(model).name: x}, inference)
        except ArgumentError as error:
            raise ArgumentError(f"the teacher cannot be run: {error}") from error
        self._last, self.shape = last_operator(model), self._network.shapes[0]

    def scores(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return as_logits(self._network(x)[0], self._last)
