"""Constants that passes make, and the weights of the model that they replace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import onnx_graphsurgeon as gs

from upscale_onnx.model.content import element_type, values_of
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.quantiser import QUANTISERS, Quantiser
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array

_CARRIERS = ("Identity", "Cast", "Transpose", *QUANTISERS)


@dataclass(frozen=True, eq=False)
class Origin:
    """A weight of the model, and the nodes between its stored values and the values that a node reads.

    name: name of the initializer, of the output of a Constant node, or of a value computed from constants.
    stored_bytes: its size in the file in bytes, 0 if it is computed.
    dtype: the type of its stored values, None if it is computed.
    way: the nodes in between; the first reads the stored values. They are Casts, Transposes and quantisers.
    quantisers: the quantisers among them, by their place in `way`.
    """

    name: str
    stored_bytes: int = 0
    dtype: Any = None
    way: tuple[gs.Node, ...] = ()
    quantisers: Mapping[int, Quantiser] = field(default_factory=dict)


class MadeConstant(gs.Constant):  # type: ignore[misc]
    """A constant that a pass made. `origin` is the weight that it replaces, None if it replaces none. `is_stored`:
    whether it has the name and the form in which the model will hold it."""

    def __init__(self, name: str, values: Array, origin: Origin | None = None) -> None:
        super().__init__(name, values)
        self.origin = origin
        self.is_stored = False


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
    steps = [node for node in way if node.op != "Identity"]
    quantisers = {place: _quantiser(node) for place, node in enumerate(steps) if node.op in QUANTISERS}
    if 0 in quantisers and quantisers[0].attrs.get("block_size", 0):
        quantisers[0] = replace(quantisers[0], stored=partial(values_of, weight))
    return Origin(source.name, int(size), element_type(weight), tuple(_copy(node) for node in steps), quantisers)


def _carries(node: gs.Node) -> bool:
    quantises = node.op in QUANTISERS and node.domain in (*STANDARD_DOMAINS, RUNTIME_DOMAIN)
    if not quantises and (node.op not in _CARRIERS or node.domain not in STANDARD_DOMAINS):
        return False
    if len(node.inputs) == 1:
        return not quantises
    known = all(_weight(tensor) is not None for tensor in node.inputs[1:])
    return quantises and len(node.inputs) in (2, 3) and known


def _quantiser(node: gs.Node) -> Quantiser:
    held = [_weight(tensor) for tensor in node.inputs[1:]]
    scale, *points = [values_of(tensor) for tensor in held if tensor is not None]
    names = tuple(tensor.name for tensor in node.inputs[1:])
    return Quantiser(node.op, dict(node.attrs), scale, points[0] if points else None, names)


def _weight(tensor: gs.Tensor) -> gs.Constant | None:
    """`tensor` as a constant: an initializer, or the value of a Constant node; None if it is neither."""
    if isinstance(tensor, gs.Constant):
        return tensor
    node = tensor.inputs[0] if len(tensor.inputs) == 1 else None
    value = node.attrs.get("value") if node is not None and node.op == "Constant" else None
    return value if isinstance(value, gs.Constant) else None


def _copy(node: gs.Node) -> gs.Node:
    return gs.Node(node.op, node.name, dict(node.attrs), [], [gs.Variable(node.outputs[0].name)], node.domain)
