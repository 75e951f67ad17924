"""Constants that passes make, and the weights of the model that they replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.types import Array

_CARRIERS = ("Identity", "Cast", "Transpose")


@dataclass(frozen=True, eq=False)
class Origin:
    """A weight of the model, and the way from its values as they are stored to those that a node reads.

    name: name of the initializer, of the output of a Constant node, or of a value computed from constants.
    stored_bytes: its bytes in the file, 0 where it is computed. dtype: the type that its values are stored in, None
    where it is computed. way: the Casts and Transposes on the way, first the one that reads the stored values.
    """

    name: str
    stored_bytes: int = 0
    dtype: Any = None
    way: tuple[gs.Node, ...] = ()


class MadeConstant(gs.Constant):  # type: ignore[misc]
    """A constant that a pass made; `origin` is the weight whose place it takes, None where it is new."""

    def __init__(self, name: str, values: Array, origin: Origin | None = None) -> None:
        super().__init__(name, values)
        self.origin = origin


class HeldConstant(gs.Constant):  # type: ignore[misc]
    """A weight that stays as it is: nothing is known of its values, so that no rule looks through its readers."""


def origin_of(tensor: gs.Tensor) -> Origin | None:
    """The weight that a constant input of a node comes from; None where a pass made it anew."""
    if isinstance(tensor, MadeConstant):
        return tensor.origin
    way: list[gs.Node] = []
    source = tensor
    while isinstance(source, gs.Variable) and len(source.inputs) == 1 and _carries(source.inputs[0]):
        way.insert(0, source.inputs[0])
        source = source.inputs[0].inputs[0]
    weight = _weight(source)
    if weight is None:
        return Origin(tensor.name)
    size = getattr(weight._values, "nbytes", 0)
    # Copies: once nothing reads them, the nodes themselves are taken apart.
    steps = tuple(_copy(node) for node in way if node.op != "Identity")
    return Origin(source.name, int(size), weight.dtype, steps)


def _carries(node: gs.Node) -> bool:
    return node.op in _CARRIERS and node.domain in STANDARD_DOMAINS and len(node.inputs) == 1


def _weight(tensor: gs.Tensor) -> gs.Constant | None:
    """The constant that `tensor` is: an initializer, or what a Constant node holds."""
    if isinstance(tensor, gs.Constant):
        return tensor
    node = tensor.inputs[0] if len(tensor.inputs) == 1 else None
    value = node.attrs.get("value") if node is not None and node.op == "Constant" else None
    return value if isinstance(value, gs.Constant) else None


def _copy(node: gs.Node) -> gs.Node:
    return gs.Node(node.op, node.name, dict(node.attrs), [], [gs.Variable(node.outputs[0].name)], node.domain)
