"""The memory that folded constants may take. Without a limit, a file of some kilobytes can ask for terabytes.

An operator is not evaluated if its result might not fit. All results together may take a few times the bytes of the
model's weights. A result that is not computed is unknown, as if it came from an input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import helper

from upscale_onnx.types import Array

# The bytes that any model may fold, and the further bytes for each byte of its weights.
_ALWAYS_BYTES = 1 << 27
_TIMES_WEIGHTS = 3
# The most elements of a result that holds others than its inputs, and the most that a convolution may write out.
_LARGEST = 1 << 22
_WIDEST = 8  # bytes of an element
# Operators whose results have no more elements than their first input.
_OF_FIRST = frozenset(
    "Identity Cast Transpose Reshape Squeeze Unsqueeze Flatten Slice Split ScatterND CumSum Trilu Softmax ReduceProd "  # noqa: SIM905
    "ReduceMean ReduceSum ReduceMin ReduceMax ReduceL1 ReduceL2 ReduceSumSquare CastLike Shrink Erf "
    "LpNormalization EyeLike Compress ScatterElements DepthToSpace SpaceToDepth LogSoftmax ReduceLogSum "
    "ReduceLogSumExp".split()
)


class FoldingBudget:
    """The bytes that results may still take.

    weight_bytes: the bytes of the model's own weights.
    most: the most elements that the results of one operator may have.
    """

    def __init__(self, weight_bytes: int, most: float = math.inf) -> None:
        self._left = _ALWAYS_BYTES + _TIMES_WEIGHTS * weight_bytes
        self._most = most

    def allows(self, op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Array | None]) -> bool:
        """Whether an operator may be evaluated on `inputs`; None stands for an input that is left out.

        Raises: ValueError, IndexError, KeyError, TypeError or ArithmeticError where attributes contradict the inputs.
        """
        arrays = [array for array in inputs if array is not None]
        if not inputs or inputs[0] is None:
            return False
        count = most_elements(op_type, attrs, inputs[0], inputs, arrays)
        return count <= self._most and count * _width(op_type, attrs, arrays) <= self._left

    def take(self, outputs: Sequence[Array], inputs: Sequence[Array | None]) -> None:
        """Subtract the bytes of `outputs` from the budget. Outputs that share the memory of an input are free."""
        for value in outputs:
            if not any(array is not None and np.may_share_memory(value, array) for array in inputs):
                self._left -= value.nbytes


def _width(op_type: str, attrs: Mapping[str, Any], known: Sequence[Array]) -> int:
    """The bytes of one element of a result."""
    if op_type == "Cast":
        return int(helper.tensor_dtype_to_np_dtype(int(attrs["to"])).itemsize)
    return _WIDEST if op_type in ("ConstantOfShape", "EyeLike") else max(array.dtype.itemsize for array in known)


def most_elements(
    op_type: str, attrs: Mapping[str, Any], first: Array, inputs: Sequence[Array | None], known: Sequence[Array]
) -> float:
    """An upper bound of the elements that all results of an operator have together; infinity if it is too large anyway.

    first: the first input. known: the `inputs` without those that are left out (None).
    """
    second = inputs[1] if len(inputs) > 1 else None
    if op_type in _OF_FIRST:
        return first.size
    if op_type == "Concat":
        return sum(array.size for array in known)
    if op_type == "Gather":
        return math.inf if second is None else second.size * (first.size // max(first.shape[_axis(attrs)], 1))
    made = _generated(op_type, attrs, first, second, known)
    if made is None:
        made = math.prod(np.broadcast_shapes(*(array.shape for array in known)))
    return made if made <= max(_LARGEST, *(array.size for array in known)) else math.inf


def _axis(attrs: Mapping[str, Any]) -> int:
    return int(attrs.get("axis", 0))


def _generated(
    op_type: str, attrs: Mapping[str, Any], first: Array, second: Array | None, known: Sequence[Array]
) -> float | None:
    """What `most_elements` returns, for operators that make more elements than their inputs have, other than by
    broadcasting; None for all other operators."""
    if op_type == "ConstantOfShape":
        return _elements(first)
    if op_type == "Range":
        stop, step = (float(array.ravel()[0]) for array in known[1:3])
        return abs(stop - float(first.ravel()[0])) / abs(step) + 1
    if op_type in ("Expand", "Tile"):
        return math.inf if second is None else first.size * _elements(second)
    if op_type == "Conv":
        return math.inf if second is None else _convolved(attrs, first, second)
    if op_type == "MatMul":
        inner = max(first.shape[-1] if first.ndim else 1, 1)
        return math.inf if second is None else first.size * second.size // inner
    if op_type == "Gemm":
        return math.inf if second is None else _multiplied(attrs, first, second, known)
    if op_type == "Dropout":  # the mask is a second result
        return 2 * first.size
    if op_type == "Einsum":
        return _indexed(str(attrs.get("equation", "")), known)
    if op_type == "Pad":
        return math.inf if second is None else _padded(first, second)
    if op_type == "OneHot":
        return math.inf if second is None else first.size * _elements(second)
    if op_type == "GatherElements":
        return math.inf if second is None else second.size
    if op_type == "GatherND":
        return math.inf if second is None else second.size * math.prod(first.shape[second.shape[-1] :])
    if op_type == "BatchNormalization":  # numpy would broadcast vectors of wrong lengths
        return first.size if all(array.size == first.shape[1] for array in known[1:]) else math.inf
    return None


def _indexed(equation: str, known: Sequence[Array]) -> float:
    """How many products an Einsum forms, which are at least as many as its elements."""
    if "." in equation:
        return math.inf
    operands = equation.replace(" ", "").partition("->")[0].split(",")
    named = (zip(letters, array.shape, strict=True) for letters, array in zip(operands, known, strict=True))
    sizes: dict[str, int] = {letter: size for pairs in named for letter, size in pairs}
    return math.prod(sizes.values())


def _elements(shape: Array) -> float:
    return float(np.prod(np.abs(shape.astype(np.float64))))


def _padded(first: Array, pads: Array) -> float:
    """The elements of a result that is padded along any axes by the largest of the given amounts."""
    most = 2 * float(np.abs(pads.astype(np.float64)).max(initial=0))
    return float(math.prod(size + most for size in first.shape))


def _multiplied(attrs: Mapping[str, Any], first: Array, second: Array, known: Sequence[Array]) -> float:
    rows = first.shape[1 if attrs.get("transA", 0) else 0]
    columns = second.shape[0 if attrs.get("transB", 0) else 1]
    # numpy would also broadcast the product to the third operand; ONNX broadcasts only the third operand.
    return math.prod(np.broadcast_shapes((rows, columns), *(array.shape for array in known[2:])))


def _convolved(attrs: Mapping[str, Any], data: Array, weight: Array) -> float:
    """The elements that a convolution writes out: the padded input, the dilated weight, and a patch for each position
    of the result."""
    axes = data.ndim - 2
    kernel = weight.shape[2:]
    pads, strides = attrs.get("pads") or (0,) * (2 * axes), attrs.get("strides") or (1,) * axes
    dilations = attrs.get("dilations") or (1,) * axes
    spans = [int(d) * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    if attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        pads = [span for span in spans for _ in range(2)]
    padded = [size + abs(int(pads[axis])) + abs(int(pads[axis + axes])) for axis, size in enumerate(data.shape[2:])]
    places = math.prod(max(size // abs(int(step)), 1) + 1 for size, step in zip(padded, strides, strict=True))
    patches = places * data.shape[0] * max(data.shape[1] * math.prod(kernel), weight.shape[0])
    dilated = weight.shape[0] * weight.shape[1] * math.prod(spans)
    return float(max(patches, dilated, math.prod(data.shape[:2]) * math.prod(padded)))
