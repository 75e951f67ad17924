"""Trains a model, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.torch_backend.network import TorchNetwork
from upscale_onnx.torch_backend.threads import torch_threads
from upscale_onnx.torch_backend.values import Operator, Rule, Value, from_array, tensor
from upscale_onnx.training.images import TrainingData
from upscale_onnx.training.initialise import fresh_statistics, initialised
from upscale_onnx.training.learned import kept_entries, learned, statistics
from upscale_onnx.training.losses import class_scores, training_loss
from upscale_onnx.training.rates import rate_at
from upscale_onnx.training.settings import Training
from upscale_onnx.types import Array, BoolArray

Penalty = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
"""What is added to the loss, as a function of the weights by name."""


class Trainer:
    """The training of `model` on `data`.

    teacher: a model whose scores are learned, too. penalty: may be set at any time.
    """

    def __init__(
        self, model: onnx.ModelProto, data: TrainingData, settings: Training, teacher: onnx.ModelProto | None = None
    ) -> None:
        self._model, self._data, self._settings = model, data, settings
        self._network = TorchNetwork(model, _rules(settings))
        self._teacher = None if teacher is None else TorchNetwork(teacher)
        self._last = {name: node.op_type for node in model.graph.node for name in node.output}
        values = learned(model)
        moments = statistics(model) if settings.norms == "train" else {}
        kept = kept_entries(model, {**values, **moments})
        if settings.init == "random":
            values, moments = initialised(model, values, settings.seed), fresh_statistics(model, moments)
        self._weights = {name: _parameter(array) for name, array in values.items()}
        self._statistics = {name: from_array(array.astype(np.float32)).clone() for name, array in moments.items()}
        self._tensors = {**self._weights, **self._statistics}
        self._kept = {name: from_array(mask) for name, mask in kept.items()}
        self._held = self._held_vectors()
        self._optimizer = _optimizer(list(self._weights.values()), settings)
        self._done = 0
        self.penalty: Penalty | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that are trained."""
        return tuple(self._weights)

    def epoch(self, number: int, progress: Callable[[float], None] | None = None) -> tuple[float, float]:
        """Train for one epoch, which is `number`, from 0. Return the mean loss and the share of correct classes.

        Raises: ArgumentError where the loss is no finite number, or the model or the data cannot be trained.
        """
        settings, data = self._settings, self._data
        generator = torch.Generator().manual_seed(settings.seed * 100_003 + number)
        torch.manual_seed(settings.seed * 100_003 + number)  # of dropout
        total, correct, steps = 0.0, 0, data.steps
        with torch_threads(settings.threads):
            for step, (x, labels) in enumerate(data.epoch(generator)):
                loss, scores = self._step(x, labels)
                total += loss
                correct += int((scores.argmax(dim=1) == labels).sum())
                if not np.isfinite(total):
                    raise ArgumentError(f"epoch {number + 1}: the loss is not finite: train at a lower rate")
                if progress is not None:
                    progress((step + 1) / steps)
        return total / steps, correct / (steps * data.batch)

    def model(self) -> onnx.ModelProto:
        """The model with the weights and statistics as they are now."""
        found = onnx.ModelProto()
        found.CopyFrom(self._model)
        tensors = constant_tensors(found)
        for name, value in self._tensors.items():
            old = numpy_helper.to_array(tensors[name])
            array: Array = np.ascontiguousarray(value.detach().numpy()).astype(old.dtype)
            tensors[name].CopyFrom(numpy_helper.from_array(array, tensors[name].name))
        return found

    def weights(self) -> dict[str, Array]:
        """Copies of the weights by name, as float32."""
        return {name: np.array(value.detach().numpy()) for name, value in self._weights.items()}

    def replace(self, weights: Mapping[str, Array], kept: Mapping[str, BoolArray] | None = None) -> None:
        """Give weights other values. kept: by name, the entries that may change from now on; None changes nothing."""
        with torch.no_grad():
            for name, array in weights.items():
                self._weights[name].copy_(from_array(array))
        if kept is not None:
            self._kept = {name: from_array(mask) for name, mask in kept.items()}
        self._held = self._held_vectors()

    def state(self) -> dict[str, Any]:
        """What `restore` takes to go on as if there had been no interruption."""
        return {
            "weights": {name: value.detach() for name, value in self._weights.items()},
            "statistics": self._statistics,
            "kept": self._kept,
            "optimizer": self._optimizer.state_dict(),
            "steps": self._done,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        with torch.no_grad():
            for own, saved in ((self._weights, state["weights"]), (self._statistics, state["statistics"])):
                for name, value in own.items():
                    value.copy_(saved[name])
        self._kept = dict(state["kept"])
        self._held = self._held_vectors()
        self._optimizer.load_state_dict(state["optimizer"])
        self._done = int(state["steps"])

    def _step(self, x: torch.Tensor, labels: torch.Tensor) -> tuple[float, torch.Tensor]:
        settings = self._settings
        for group in self._optimizer.param_groups:
            group["lr"] = rate_at(self._done, settings.epochs * self._data.steps, settings)
        self._optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
            scores = self._scores(self._network, x, labels, self._tensors)
        taught = None
        if self._teacher is not None:
            with torch.no_grad():
                taught = self._scores(self._teacher, x, labels, {})
        loss = training_loss(scores, labels, taught, settings)
        whole = loss if self.penalty is None else loss + self.penalty(self._weights)
        torch.autograd.backward(whole)
        for name, value in self._weights.items():
            if name in self._kept and value.grad is not None:
                value.grad.mul_(self._kept[name])
        self._optimizer.step()
        self._hold()
        self._done += 1
        return float(loss.detach()), scores.detach()

    def _held_vectors(self) -> dict[str, torch.Tensor]:
        """The vectors of which entries must stay, as they are now. Zeros of weights stay by themselves."""
        return {name: self._tensors[name].detach().clone() for name, mask in self._kept.items() if mask.ndim == 1}

    def _hold(self) -> None:
        """Undo what weight decay and the statistics of the batch did to entries that must stay."""
        with torch.no_grad():
            for name, value in self._held.items():
                self._tensors[name].copy_(torch.where(self._kept[name], self._tensors[name], value))

    def _scores(
        self, network: TorchNetwork, x: torch.Tensor, labels: torch.Tensor, weights: Mapping[str, Value]
    ) -> torch.Tensor:
        name = network.outputs[0]
        output = network.run({network.inputs[0]: x}, weights=weights)[name]
        if not isinstance(output, torch.Tensor):
            raise ArgumentError(f"output {name!r} holds no floating-point scores: it cannot be trained")
        return class_scores(output, labels, self._last.get(name, ""))


def _rules(settings: Training) -> dict[str, Rule]:
    return {"Dropout": _dropout, **({"BatchNormalization": _batch_norm} if settings.norms == "train" else {})}


def _batch_norm(operator: Operator, x: Value, scale: Value, bias: Value, mean: Value, variance: Value) -> torch.Tensor:
    """Normalises with the statistics of the batch, and updates the running ones in place."""
    return functional.batch_norm(
        tensor(x),
        tensor(mean),
        tensor(variance),
        tensor(scale),
        tensor(bias),
        training=True,
        momentum=1.0 - float(operator.get("momentum", 0.9)),
        eps=float(operator.get("epsilon", 1e-5)),
    )


def _dropout(operator: Operator, x: Value, ratio: Value | None = None, *unused: Value) -> Any:
    if operator.outputs > 1:
        raise operator.unsupported("its mask as an output")
    share = operator.get("ratio", 0.5) if ratio is None else np.asarray(ratio).item()
    return functional.dropout(tensor(x), float(share), training=True)


def _parameter(array: Array) -> torch.Tensor:
    value = from_array(array.astype(np.float32)).clone()
    if value.ndim == 4:
        value = value.contiguous(memory_format=torch.channels_last)
    return value.requires_grad_()


def _optimizer(weights: list[torch.Tensor], settings: Training) -> torch.optim.Optimizer:
    decay = settings.weight_decay
    if settings.optimizer == "sgd":
        momentum = settings.momentum
        return torch.optim.SGD(
            weights, lr=settings.rate, momentum=momentum, nesterov=momentum > 0, weight_decay=decay, foreach=True
        )
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(weights, lr=settings.rate, weight_decay=decay, foreach=True)
