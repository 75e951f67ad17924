"""Values that are known before a run: constant tensors, and vectors of sizes that are known in part.

The graph is not changed here: the value of a weight behind an Identity, or of a shape behind Shape-Gather-Concat, is
only looked up. A caller passes the nodes of its graph to `Constants.visit` in order.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from upscale_onnx.model.content import Encoded, decoded
from upscale_onnx.model.folding_budget import FoldingBudget
from upscale_onnx.model.shape_entries import known_entries
from upscale_onnx.types import Array, Dims

# Operators through which constants are followed. Quantisers are followed, too, by `add_computed`.
_FOLDED = frozenset(
    "Identity Cast Transpose Reshape Squeeze Unsqueeze Flatten Concat Slice Gather Add Sub Mul Div Neg Sqrt "  # noqa: SIM905
    "Reciprocal Pow Range Expand Equal Where Floor Ceil Min Max ReduceProd Not And Or Tile "
    "ConstantOfShape Split ScatterND Abs Exp Greater Less Mod Sign Size GreaterOrEqual LessOrEqual Round Log Sin Cos "
    "Tanh Sigmoid Relu Clip Softmax CumSum Trilu GatherND ReduceMean ReduceSum ReduceMin ReduceMax ReduceL1 ReduceL2 "
    "ReduceSumSquare BatchNormalization Conv MatMul Gemm Dropout CastLike Einsum Shrink Erf LpNormalization "
    "Pad EyeLike OneHot Compress GatherElements ScatterElements DepthToSpace SpaceToDepth LogSoftmax ReduceLogSum "
    "ReduceLogSumExp Softplus Softsign Elu LeakyRelu Celu Selu HardSigmoid HardSwish PRelu Gelu Mish Sum Mean Xor "
    "IsNaN IsInf Sinh Cosh Tan Atan".split()
)
KINDS = "fiub"
_LONGEST = 64  # entries of a vector of sizes
_TRAINING = 2  # the input of a Dropout
_SQUARES = 2  # the norm of an LpNormalization

# Computes the outputs of an operator from its inputs (None: left out). Returns None if it cannot.
Compute = Callable[[Sequence[Array | None]], Sequence[Array] | None]


def _unknown(dims: Dims | None) -> Dims | None:
    """The entries of a vector of which only the length is known."""
    if dims is None or len(dims) != 1 or not isinstance(dims[0], int) or dims[0] > _LONGEST:
        return None
    return (None,) * dims[0]


def _count(dims: Dims | None) -> int | None:
    """The number of elements of a value; None where a size is not known."""
    sizes = [dim for dim in dims or () if isinstance(dim, int)]
    return math.prod(sizes) if dims is not None and len(sizes) == len(dims) else None


class Constants:
    """Constant tensors and partly known shape vectors of one graph, by name.

    from_shape: the names of values that were computed from sizes of other values.
    blocks: the axis and the size of the blocks of constants that are quantised in blocks.
    weight_bytes: the bytes of the constants that the graph itself holds.
    budget: how much may be computed from them.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self._shapes: dict[str, Dims] = {}
        self._scalars: set[str] = set()
        self._lazy: dict[str, Encoded] = {}
        self._computed: dict[str, _Computed] = {}
        self.from_shape: set[str] = set()
        self.blocks: dict[str, tuple[int, int]] = {}
        self.weight_bytes = 0
        self.budget = FoldingBudget(0)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays or name in self._lazy or name in self._computed

    def array(self, name: str) -> Array | None:
        """The constant called `name`; None if there is none. A large weight is decoded anew unless someone holds it."""
        if name in self._computed:
            return self._computed[name].array()
        lazy = self._lazy.get(name)
        return self._arrays.get(name) if lazy is None else decoded(lazy)

    def dims(self, name: str) -> tuple[int, ...] | None:
        """The shape of the constant called `name`; None if there is none. Nothing is decoded."""
        if name in self._lazy:
            return tuple(self._lazy[name].tensor.dims)
        if name in self._computed:
            return self._computed[name].dims
        return tuple(self._arrays[name].shape) if name in self._arrays else None

    def shape_value(self, name: str) -> Dims | None:
        """The known entries of the integer vector (or scalar, as one entry) called `name`; None if nothing is known."""
        if name in self._shapes:
            return self._shapes[name]
        dims = self.dims(name)
        if dims is None or len(dims) > 1:
            return None  # seen without decoding: weights are large
        array = self.array(name)
        if array is None or array.dtype.kind not in "iu":
            return None
        return tuple(int(x) for x in array.ravel())

    def entries(self, name: str) -> Dims | None:
        """Return what `shape_value` does, also for vectors of booleans."""
        array = self._arrays.get(name)
        if array is not None and array.dtype.kind == "b" and array.ndim <= 1:
            return tuple(int(x) for x in array.ravel())
        return self.shape_value(name) if name else None

    def add(self, name: str, array: Array) -> None:
        """Record `array` as the value of `name`."""
        self._arrays[name] = array

    def add_encoded(self, name: str, weight: Encoded) -> None:
        """Record `weight` as the value of `name`. It is decoded when `array` is called."""
        self._lazy[name] = weight

    def add_computed(self, name: str, compute: Callable[[], Array | None]) -> None:
        """Record what `compute` returns as the value of `name`, if it returns one. It is computed anew unless someone
        holds it: a dequantised weight takes several times the bytes of the weight."""
        first = compute()
        if first is not None and first.dtype.kind in KINDS:
            self._computed[name] = _Computed(compute, first)

    def visit(
        self,
        op_type: str,
        attrs: Mapping[str, Any],
        inputs: Sequence[str],
        outputs: Sequence[str],
        dims: Mapping[str, Dims],
        compute: Compute,
    ) -> None:
        """Find what is known of the outputs of a node of the default domain.

        attrs: attributes in the form that `known_entries` takes.
        dims: the inferred dimensions of values.
        """
        # The checker accepts attributes that contradict each other. The outputs of such a node stay unknown.
        with contextlib.suppress(ValueError, IndexError, KeyError, TypeError, ArithmeticError):
            if op_type == "Shape":
                source = dims.get(inputs[0])
                if source is not None:
                    self._add_entries(outputs[0], source[attrs.get("start", 0) : attrs.get("end")])
            elif op_type == "Size" and (count := _count(dims.get(inputs[0]))) is not None:
                self._add_entries(outputs[0], (count,), scalar=True)
            elif op_type in _FOLDED and all(not name or name in self for name in inputs):
                self._fold(op_type, attrs, inputs, outputs, compute)
            elif op_type in _FOLDED:
                given = [self.entries(name) for name in inputs]
                if op_type == "Concat" and any(given):
                    given = [
                        _unknown(dims.get(name)) if e is None else e for name, e in zip(inputs, given, strict=True)
                    ]
                entries = known_entries(op_type, attrs, given)
                if entries is not None:
                    dtype = np.bool_ if op_type == "Equal" else np.int64
                    self._add_entries(outputs[0], entries, self._is_scalar(op_type, inputs), dtype)

    def _fold(
        self, op_type: str, attrs: Mapping[str, Any], inputs: Sequence[str], outputs: Sequence[str], compute: Compute
    ) -> None:
        arrays = [self.array(name) if name else None for name in inputs]
        if not self.budget.allows(op_type, attrs, arrays):
            return
        training = arrays[_TRAINING] if op_type == "Dropout" and len(arrays) > _TRAINING else None
        if training is not None and training.any():
            return
        if op_type == "LpNormalization" and attrs.get("p", 2) != _SQUARES:
            return  # onnx's reference evaluator sums up no absolute values
        results = compute(arrays)
        if results is None or any(value.dtype.kind not in KINDS for value in results):
            return
        if op_type == "LpNormalization" and not np.isfinite(results[0]).all():
            return  # runtimes differ in what a vector of zeros becomes
        self.budget.take(results, arrays)
        self._arrays.update(zip(outputs, results, strict=True))
        if any(name in self.from_shape for name in inputs):
            self.from_shape.update(outputs)

    def _add_entries(self, name: str, entries: Dims, scalar: bool = False, dtype: type = np.int64) -> None:
        self.from_shape.add(name)
        if scalar:
            self._scalars.add(name)
        if all(isinstance(entry, int) for entry in entries):
            self._arrays[name] = np.asarray(entries[0] if scalar else entries, dtype)
            return
        self._shapes[name] = entries

    def _is_scalar(self, op_type: str, inputs: Sequence[str]) -> bool:
        """Whether an operator makes a scalar of a partly known vector."""
        if op_type == "Gather":
            return self.dims(inputs[1]) == ()
        if op_type in ("Squeeze", "Reshape", "Unsqueeze", "Concat", "Slice", "ConstantOfShape"):
            return bool(op_type == "Squeeze" or (op_type == "Reshape" and self.dims(inputs[1]) == (0,)))
        return all(name in self._scalars or self.dims(name) == () for name in inputs)


class _Computed:
    """An array that can be computed again."""

    def __init__(self, compute: Callable[[], Array | None], first: Array) -> None:
        self._compute, self._shared = compute, weakref.ref(first)
        self.dims: tuple[int, ...] = first.shape

    def array(self) -> Array | None:
        found = self._shared()
        if found is None:
            found = self._compute()
            if found is not None:
                self._shared = weakref.ref(found)
        return found


def constant_value(attrs: Mapping[str, Any], tensor: Array | None) -> Array | None:
    """The value of a Constant node with these attributes. tensor: the attribute "value", if there is one."""
    for key, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64)):
        if key in attrs:
            return np.asarray(attrs[key], dtype)
    return np.asarray(attrs["value_ints"], np.int64) if "value_ints" in attrs else tensor
