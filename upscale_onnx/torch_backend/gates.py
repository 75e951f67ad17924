"""How the loss changes when channels are scaled down: gradients with respect to gates, the factors of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch

from upscale_onnx.errors import ArgumentError
from upscale_onnx.torch_backend.loss import loss
from upscale_onnx.torch_backend.network import TorchNetwork
from upscale_onnx.torch_backend.values import Tensor, Value, array, tensor
from upscale_onnx.types import Array


@dataclass(frozen=True)
class Gate:
    """Factors of 1 for the channels of a value along its `axis`.

    reader: the first output of the only node that reads the value through the gate; "" if all nodes do.
    """

    value: str
    axis: int
    reader: str = ""


class Gates:
    """A model with gates."""

    def __init__(self, model: onnx.ModelProto, gates: Sequence[Gate]) -> None:
        self._network = TorchNetwork(model)
        self._last = {name: node.op_type for node in model.graph.node for name in node.output}
        self._places: dict[tuple[str, str], list[Gate]] = {}
        for gate in gates:
            self._places.setdefault((gate.value, gate.reader), []).append(gate)

    def changes(self, inputs: Mapping[str, Array], labels: Array | None) -> dict[Gate, Array]:
        """By gate, the derivative of each sample's loss with respect to each channel's factor: (samples, channels).

        By the chain rule, it is the sum of value times gradient over the positions of the channel. To first order,
        removing the channel changes the loss of a sample by minus this. If the rows of the gated value do not belong
        to samples, there is one row for the batch. Gates that the loss does not depend on are left out.

        labels: class numbers (samples,), or None (see `loss`).

        Raises: ArgumentError if the model has an operator without a gradient, or labels do not fit.
        """
        found: dict[Gate, Tensor] = {}

        def change(name: str, value: Value, reader: str) -> Value:
            for gate in self._places.get((name, reader), ()):
                if isinstance(value, torch.Tensor):
                    value = _gated(value, gate, found)
            return value

        name = self._network.outputs[0]
        output = self._network.run(inputs, change)[name]
        if not isinstance(output, torch.Tensor) or not output.requires_grad:
            raise ArgumentError(f"output {name!r} has no gradient: use a criterion that needs none, such as wanda")
        torch.autograd.backward(loss(output, labels, self._last.get(name, "")))
        samples = max((value.shape[0] for value in inputs.values() if value.ndim), default=1)
        return {gate: _rows(change, samples) for gate, change in found.items()}


def _gated(value: Tensor, gate: Gate, found: dict[Gate, Tensor]) -> Tensor:
    """`value` for the readers behind the gate. In the backward pass, the gate's derivative is put into `found`.

    The gate itself would multiply by one, so it is left out, and the value is not held twice.
    """
    axis = gate.axis % value.ndim
    own: Any = value.view_as(value) if value.requires_grad else value.detach().requires_grad_()

    def tell(gradient: Tensor) -> None:
        others = [i for i in range(1, value.ndim) if i != axis]
        change = (gradient * value.detach()).sum(dim=others) if others else gradient * value.detach()
        rows = change if axis else change.reshape(value.shape[0], -1).sum(dim=1)[None]
        found[gate] = found[gate] + rows if gate in found else rows  # of all rounds of a body

    own.register_hook(tell)
    return tensor(own)


def _rows(change: Tensor, samples: int) -> Array:
    rows, channels = change.shape
    parts = samples if rows % samples == 0 else 1  # several rows per sample, such as windows of an image, or heads
    return array(change.reshape(parts, -1, channels).sum(dim=1))
