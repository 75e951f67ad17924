"""Numbers that no element of a value is below, whatever the model is given: of norms, of squares with an epsilon."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto

from upscale_onnx.model import Constant, Node, Shape, Variable
from upscale_onnx.model.known import Constants
from upscale_onnx.model.operators import NEVER_NEGATIVE, STANDARD_DOMAINS

_UNKNOWN = -math.inf
_DEPTH = 12  # nodes on a path that are looked at
# The least normal numbers: what is smaller may become zero. That of bfloat16 is that of float32.
_TINY, _TINY_HALF = 2.0**-126, 2.0**-14

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})
_MOVING = frozenset(
    "Expand Flatten Gather Identity ReduceMax ReduceMin Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split()  # noqa: SIM905
)


def is_positive(tensor: Constant | Variable, shapes: Mapping[str, Shape], constants: Constants) -> bool:
    """Whether all elements of a value are above zero, or NaN, for all inputs of the model."""
    half = tensor.name in shapes and shapes[tensor.name].dtype == TensorProto.FLOAT16
    return _Bounds(shapes, constants, _TINY_HALF if half else _TINY).of(tensor, _DEPTH) > 0


@dataclass
class _Bounds:
    """Bounds of values, each found once. tiny: what is smaller counts as zero."""

    shapes: Mapping[str, Shape]
    constants: Constants
    tiny: float
    found: dict[str, float] = field(default_factory=dict)

    def of(self, tensor: Constant | Variable, depth: int) -> float:
        """The bound of a value; minus infinity where none is known."""
        if tensor.name not in self.found:
            bound = self._constant(tensor.name) if tensor.name in self.constants else self._computed(tensor, depth)
            self.found[tensor.name] = 0.0 if 0 <= bound < self.tiny else bound
        return self.found[tensor.name]

    def _constant(self, name: str) -> float:
        array = self.constants.array(name)
        if array is None or not array.size or array.dtype.kind not in "fiu" or np.isnan(array).any():
            return _UNKNOWN
        return float(array.min())

    def _computed(self, tensor: Constant | Variable, depth: int) -> float:
        node = tensor.inputs[0] if isinstance(tensor, Variable) and len(tensor.inputs) == 1 else None
        if node is None or node.domain not in STANDARD_DOMAINS or not depth:
            return _UNKNOWN
        if tensor.name not in self.shapes or self.shapes[tensor.name].dtype not in _FLOATS:  # integers wrap around
            return _UNKNOWN
        if node.op in NEVER_NEGATIVE or _is_even_power(node, self.constants):
            return 0.0
        if node.op not in _BOUNDS:
            return _UNKNOWN
        given = [self.of(value, depth - 1) if value.name else _UNKNOWN for value in node.inputs]
        return _BOUNDS[node.op](node, given)


def _is_even_power(node: Node, constants: Constants) -> bool:
    if node.op == "Mul":
        return node.inputs[0] is node.inputs[1]
    exponent = constants.array(node.inputs[1].name) if node.op == "Pow" and node.inputs[1].name in constants else None
    return exponent is not None and bool((exponent % 2 == 0).all() and (exponent > 0).all())


def _first(node: Node, given: Sequence[float]) -> float:
    return given[0]


def _not_negative(node: Node, given: Sequence[float]) -> float:
    """Of operators that make no negative number of numbers that are not negative."""
    operands = given[:1] if node.op.startswith("Reduce") else given  # without the axes
    return 0.0 if min(operands) >= 0 else _UNKNOWN


def _sum(node: Node, given: Sequence[float]) -> float:
    return sum(given)


def _root(node: Node, given: Sequence[float]) -> float:
    return math.sqrt(max(given[0], 0.0))


def _clipped(node: Node, given: Sequence[float]) -> float:
    least, most = (
        node.attrs.get(name, given[index] if index < len(given) and node.inputs[index].name else default)
        for name, index, default in (("min", 1, _UNKNOWN), ("max", 2, math.inf))
    )
    return min(max(given[0], float(least)), float(most))


def _largest(node: Node, given: Sequence[float]) -> float:
    return max(given)


def _least(node: Node, given: Sequence[float]) -> float:
    return min(given[1:] if node.op == "Where" else given)


def _cast(node: Node, given: Sequence[float]) -> float:
    # Whatever the types are, this much is left of it.
    return given[0] if given[0] >= _TINY_HALF else min(given[0], 0.0)


_BOUNDS: dict[str, Callable[[Node, Sequence[float]], float]] = {
    **dict.fromkeys(_MOVING, _first),
    **dict.fromkeys(("Div", "GlobalAveragePool", "Mul", "ReduceMean", "ReduceSum", "Sum"), _not_negative),
    "Add": _sum,
    "Cast": _cast,
    "Clip": _clipped,
    "Concat": _least,
    "Max": _largest,
    "Min": _least,
    "Sqrt": _root,
    "Where": _least,
}
