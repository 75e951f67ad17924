"""Which tensors of a graph are known before it runs: weights, constants, and computed shapes.

Nothing is folded into the graph here: a weight behind an Identity or a shape behind Shape-Gather-Concat
is only *known*, and the nodes stay until a pass replaces one of their uses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.channels.folding import FoldingBudget
from upscale_onnx.model import Constant, Graph, Node
from upscale_onnx.model.constants import HeldConstant
from upscale_onnx.model.content import Encoded, decoded, encoded, is_sparse
from upscale_onnx.model.protos import stored_bytes
from upscale_onnx.model.shape_entries import known_entries
from upscale_onnx.types import Array, Dims

# Operators through which constants are followed. Dequantisation is not among them: looking through
# it would turn a quantised weight into a float one.
_FOLDED = frozenset(
    "Identity Cast Transpose Reshape Squeeze Unsqueeze Flatten Concat Slice Gather Add Sub Mul Div Neg Sqrt "  # noqa: SIM905
    "Reciprocal Pow Range Expand Equal Where Floor Ceil Min Max ReduceProd Not And Or Tile "
    "ConstantOfShape Split ScatterND Abs Exp Greater Less Mod Sign Size GreaterOrEqual LessOrEqual Round Log Sin Cos "
    "Tanh Sigmoid Relu Clip Softmax CumSum Trilu GatherND ReduceMean ReduceSum ReduceMin ReduceMax ReduceL1 ReduceL2 "
    "ReduceSumSquare BatchNormalization Conv MatMul Gemm".split()
)
_KINDS = "fiub"
# Weights of more bytes stay encoded, or an analysis would need the memory of a second model.
_LARGEST_HELD = 1 << 16


class Constants:
    """Constant tensors and partly known shape vectors of one graph, by name.

    weight_bytes: what the constants that the graph itself holds take. budget: what more may be computed of them.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self._shapes: dict[str, Dims] = {}
        self._scalars: set[str] = set()
        self._lazy: dict[str, Encoded] = {}
        self.from_shape: set[str] = set()
        self.weight_bytes = 0
        self.budget = FoldingBudget(0)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays or name in self._lazy

    def array(self, name: str) -> Array | None:
        """The constant called `name`, None where it is not one. A large weight that nobody holds is decoded anew."""
        lazy = self._lazy.get(name)
        return self._arrays.get(name) if lazy is None else decoded(lazy)

    def dims(self, name: str) -> tuple[int, ...] | None:
        """The shape of the constant called `name`, None where it is not one; nothing is decoded."""
        if name in self._lazy:
            return tuple(self._lazy[name].tensor.dims)
        return tuple(self._arrays[name].shape) if name in self._arrays else None

    def shape_value(self, name: str) -> Dims | None:
        """Entries of the integer vector (or scalar, as one entry) called `name`, as far as known."""
        if name in self._shapes:
            return self._shapes[name]
        array = self.array(name) if name in self else None
        if array is None or array.ndim > 1 or array.dtype.kind not in "iu":
            return None
        return tuple(int(x) for x in array.ravel())


def find_constants(graph: Graph, dims: Mapping[str, Dims], opset: int) -> Constants:
    """The constants of the main graph. `dims` are the inferred dimensions of its values."""
    found = Constants()
    for tensor in graph.tensors().values():
        if isinstance(tensor, Constant):
            _add_weight(found, tensor)
    found.budget = FoldingBudget(found.weight_bytes)
    for node in graph.nodes:
        # Attributes that contradict one another get past the checker; nothing is known of such a node.
        with contextlib.suppress(ValueError, IndexError, KeyError, TypeError, ArithmeticError):
            _visit(found, node, dims, opset)
    return found


def _add_weight(found: Constants, tensor: Constant) -> None:
    if is_sparse(tensor) or not isinstance(tensor.dtype, np.dtype | type):
        return
    if isinstance(tensor, HeldConstant) or np.dtype(tensor.dtype).kind not in _KINDS:
        return
    lazy = encoded(tensor)
    if lazy is None:
        found._arrays[tensor.name] = tensor.values
        found.weight_bytes += tensor.values.nbytes
        return
    size = stored_bytes(lazy.tensor)
    found.weight_bytes += size
    if size > _LARGEST_HELD:
        found._lazy[tensor.name] = lazy
    else:
        found._arrays[tensor.name] = decoded(lazy)


def _visit(found: Constants, node: Node, dims: Mapping[str, Dims], opset: int) -> None:
    if node.domain not in (None, "", "ai.onnx") or not node.outputs:
        return
    name = node.outputs[0].name
    if node.op == "Constant":
        value = _constant_value(node.attrs)
        if value is not None:
            found._arrays[name] = value
        return
    if node.op == "Shape":
        source = dims.get(node.inputs[0].name)
        if source is not None:
            start, end = int(node.attrs.get("start", 0)), node.attrs.get("end")
            _add_shape(found, name, source[start : None if end is None else int(end)])
        return
    if node.op not in _FOLDED or any(isinstance(value, Graph) for value in node.attrs.values()):
        return
    inputs = [i.name for i in node.inputs]
    if all(i == "" or i in found for i in inputs):
        _fold(found, node, inputs, opset)
        return
    partial = _partial(found, node)
    if partial is not None:
        _add_shape(found, name, partial, _is_scalar(found, node), np.bool_ if node.op == "Equal" else np.int64)


def _fold(found: Constants, node: Node, inputs: list[str], opset: int) -> None:
    arrays = [None if i == "" else found.array(i) for i in inputs]
    if not found.budget.allows(node.op, node.attrs, arrays):
        return
    outputs = evaluate(node.op, opset, node.attrs, arrays, len(node.outputs))
    if outputs is None or any(value.dtype.kind not in _KINDS for value in outputs):
        return
    found.budget.take(outputs, arrays)
    derived = any(i in found.from_shape for i in inputs)
    for tensor, value in zip(node.outputs, outputs, strict=True):
        found._arrays[tensor.name] = value
        if derived:
            found.from_shape.add(tensor.name)


def _add_shape(found: Constants, name: str, entries: Dims, scalar: bool = False, dtype: type = np.int64) -> None:
    found.from_shape.add(name)
    if scalar:
        found._scalars.add(name)
    if all(isinstance(entry, int) for entry in entries):
        found._arrays[name] = np.asarray(entries[0] if scalar else entries, dtype)
        return
    found._shapes[name] = entries


def _constant_value(attrs: Mapping[str, Any]) -> Array | None:
    for key, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64)):
        if key in attrs:
            return np.asarray(attrs[key], dtype)
    if "value_ints" in attrs:
        return np.asarray(attrs["value_ints"], np.int64)
    value = attrs.get("value")
    if not isinstance(value, Constant) or is_sparse(value):
        return None
    if not isinstance(value.dtype, np.dtype | type) or np.dtype(value.dtype).kind not in _KINDS:
        return None
    array: Array = value.values
    return array


def _is_scalar(found: Constants, node: Node) -> bool:
    """Whether what a partly known vector goes through leaves a scalar."""
    if node.op == "Gather":
        index = found.array(node.inputs[1].name)
        return index is not None and index.ndim == 0
    if node.op in ("Squeeze", "Reshape", "Unsqueeze", "Concat", "Slice", "ConstantOfShape"):
        return bool(node.op == "Squeeze" or (node.op == "Reshape" and found.dims(node.inputs[1].name) == (0,)))
    return all(tensor.name in found._scalars or found.dims(tensor.name) == () for tensor in node.inputs)


def _partial(found: Constants, node: Node) -> Dims | None:
    """Entries of a shape vector computed from others, where not all are numbers."""
    attrs = node.attrs
    if node.op == "ConstantOfShape" and "value" in attrs:
        value = _constant_value(attrs)
        if value is None or value.dtype.kind not in "iu":
            return None
        attrs = {"value": int(value.ravel()[0])}
    return known_entries(node.op, attrs, [_entries(found, tensor.name) for tensor in node.inputs])


def _entries(found: Constants, name: str) -> Dims | None:
    array = found.array(name) if name in found else None
    if array is not None and array.dtype.kind == "b" and array.ndim <= 1:
        return tuple(int(x) for x in array.ravel())
    return found.shape_value(name) if name else None
