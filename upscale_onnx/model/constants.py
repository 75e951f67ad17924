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
    """A weight of the model, and the nodes between its stored values and the values that a node reads.

    name: name of the initializer, of the output of a Constant node, or of a value computed from constants.
    stored_bytes: its size in the file in bytes, 0 if it is computed.
    dtype: the type of its stored values, None if it is computed.
    way: the Casts and Transposes in between; the first reads the stored values.
    """

    name: str
    stored_bytes: int = 0
    dtype: Any = None
    way: tuple[gs.Node, ...] = ()


class MadeConstant(gs.Constant):  # type: ignore[misc]
    """A constant that a pass made. `origin` is the weight that it replaces, None if it replaces none."""

    def __init__(self, name: str, values: Array, origin: Origin | None = None) -> None:
        super().__init__(name, values)
        self.origin = origin


class HeldConstant(gs.Constant):  # type: ignore[misc]
    """A weight that is not to be cut. Its values count as unknown, so the nodes that read it are barriers."""


def origin_of(tensor: gs.Tensor) -> Origin | None:
    """The weight that `tensor`, a constant input of a node, comes from; None if a pass made it from no weight."""
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
    """`tensor` as a constant: an initializer, or the value of a Constant node; None if it is neither."""
    if isinstance(tensor, gs.Constant):
        return tensor
    node = tensor.inputs[0] if len(tensor.inputs) == 1 else None
    value = node.attrs.get("value") if node is not None and node.op == "Constant" else None
    return value if isinstance(value, gs.Constant) else None


def _copy(node: gs.Node) -> gs.Node:
    return gs.Node(node.op, node.name, dict(node.attrs), [], [gs.Variable(node.outputs[0].name)], node.domain)
