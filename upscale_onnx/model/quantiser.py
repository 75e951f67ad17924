"""A QuantizeLinear or DequantizeLinear with constant scales, and how values behind it are brought in front of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from upscale_onnx.model.evaluate import evaluate_node
from upscale_onnx.model.quantised_blocks import StoredBlocks
from upscale_onnx.types import Array, BoolArray, IntArray

QUANTISERS = frozenset(("QuantizeLinear", "DequantizeLinear"))
# Types for which numpy has no kind of its own. Those of float8 without a negative zero are missing: graphsurgeon writes
# them as others.
QUANTISED_TYPES = frozenset(("int4", "uint4", "float8_e4m3fn", "float8_e5m2"))
_ATTRIBUTES = {"axis", "block_size", "saturate", "output_dtype", "precision"}
_OPSET = 25  # the newest; all opsets compute the same where they know a form
# A bias takes up the products of constants and weights. In exact numbers these are multiples of its scale.
_ROUNDING = 4 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True, eq=False)
class Quantiser:
    """One such node.

    op_type, attrs: of the node. scale, zero_point: its constant inputs; zero_point None where it is left out.
    names: those of the two in the model. stored: returns the constant that the node reads, where it has scales of
    blocks; None where it does not. index: which scales of the model's node these are; None where they are all of them.
    """

    op_type: str
    attrs: Mapping[str, Any]
    scale: Array
    zero_point: Array | None
    names: tuple[str, ...] = ()
    stored: Callable[[], Array] | None = None
    index: IntArray | None = None

    @property
    def made(self) -> np.dtype[Any]:
        """The type of what the node makes."""
        code = self.attrs.get("output_dtype", 0)
        if code:
            return np.dtype(helper.tensor_dtype_to_np_dtype(int(code)))
        if self.op_type == "DequantizeLinear":
            return self.scale.dtype
        return np.dtype(np.uint8) if self.zero_point is None else self.zero_point.dtype

    @property
    def parameters(self) -> tuple[Array, ...]:
        """The scale, and the zero point if there is one."""
        return (self.scale,) if self.zero_point is None else (self.scale, self.zero_point)

    def axis(self, rank: int) -> int | None:
        """The axis of the scales in a value of `rank`; None where one scale is for all values."""
        if self.scale.ndim != 1 or self.scale.size == 1:
            return None
        return _non_negative(int(self.attrs.get("axis", 1)), rank)

    def at(self, index: IntArray) -> Quantiser:
        """This node with the scales at `index` along its axis."""
        point = self.zero_point
        return replace(self, scale=self.scale[index], zero_point=None if point is None else point[index])

    def applied(self, values: Array) -> Array | None:
        """What the node makes of `values`; None where it cannot be computed."""
        return computed(self.op_type, self.attrs, (values, self.scale, self.zero_point))

    def undone(
        self, values: Array, dtype: np.dtype[Any], behind: Quantiser | None = None, scales: IntArray | None = None
    ) -> tuple[Array, Quantiser] | None:
        """An argument of type `dtype` for which the node makes `values`, and the node with the scales that belong to
        it. None where there is no such argument. A node `behind` that reads the same scales has been matched. scales:
        the index of the scale to try first, for each slice along the axis of scales."""
        if self.attrs.get("block_size", 0):
            return self._cut_blocks(values)
        axis = self.axis(values.ndim)
        if behind is not None and behind.names == self.names:
            found: Quantiser | None = replace(self, scale=behind.scale, zero_point=behind.zero_point)
        else:
            found = self if axis is None else self._matched(values, axis, dtype, scales)
        argument = None if found is None else found._argument(values, dtype)
        return None if argument is None or found is None else (argument, found)

    def _cut_blocks(self, values: Array) -> tuple[Array, Quantiser] | None:
        """What `undone` returns where each block has a scale."""
        stored = None if self.stored is None else self.stored()
        made = None if stored is None else self.applied(stored)
        axis = _non_negative(int(self.attrs.get("axis", 1)), values.ndim)
        if stored is None or made is None or axis is None or made.ndim != values.ndim:
            return None
        size = int(self.attrs["block_size"])
        cut = StoredBlocks(stored, self.scale, self.zero_point, made, axis, size).cut(values)
        if cut is None:
            return None
        node = replace(self, scale=cut.scale, zero_point=cut.point)
        again = node.applied(cut.values)
        return (cut.values, node) if again is not None and _alike(again, values, stored.dtype) else None

    def _argument(self, values: Array, dtype: np.dtype[Any]) -> Array | None:
        """An argument for which exactly this node makes `values`."""
        argument = self._inverse(values, dtype)
        again = None if argument is None else self.applied(argument)
        return argument if again is not None and _alike(again, values, dtype) else None

    def _inverse(self, values: Array, dtype: np.dtype[Any]) -> Array | None:
        axis = self.axis(values.ndim)
        if self.op_type == "QuantizeLinear":
            attrs = {name: value for name, value in self.attrs.items() if name == "axis"}
            return computed("DequantizeLinear", attrs, (values, self.scale, self.zero_point))
        scale, point = (_along(vector, axis, values.ndim) for vector in (self.scale, self.zero_point))
        with np.errstate(all="ignore"):
            steps = values.astype(np.float64) / np.where(scale == 0, 1, scale)
        if not np.isfinite(steps).all():
            return None
        if _is_integer(dtype):
            low, high = integer_range(dtype)
            steps = np.clip(np.rint(steps) + point, low, high)
        return steps.astype(dtype)

    def _matched(self, values: Array, axis: int, dtype: np.dtype[Any], scales: IntArray | None) -> Quantiser | None:
        """This node with a scale for each slice of `values` along `axis` that can express it. Any such scale is right,
        but slices mostly stand in the order of their scales, so the search goes on behind the last one found."""
        rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        found, start = list[int](), 0
        for number, row in enumerate(rows):
            first = start if scales is None else int(scales[number]) % self.scale.size
            index = self._scale_of(row, first, dtype)
            if index is None:
                return None
            found.append(index)
            start = index + 1
        index_of = np.asarray(found, np.int64)
        return replace(self.at(index_of), index=index_of)

    def _scale_of(self, row: Array, start: int, dtype: np.dtype[Any]) -> int | None:
        """The index of a scale that can express `row`, the first from `start` on."""
        order = np.roll(np.arange(self.scale.size), -start)
        largest = row[np.argmax(np.abs(row))] if row.size else 0
        if largest == 0:
            return int(order[0])
        wide = np.full((1, order.size), largest, row.dtype)
        node = replace(self, attrs={**self.attrs, "axis": 1}).at(order)
        first = node._inverse(wide, dtype)
        again = None if first is None else node.applied(first)
        if again is None:
            return None
        for index in order[_equal(again, wide, dtype)[0]]:
            if self.at(np.asarray([index]))._argument(row, dtype) is not None:
                return int(index)
        return None


def computed(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Array | None]) -> Array | None:
    """What onnx's reference evaluator makes of the inputs of a quantiser; None where it makes nothing of them."""
    known = {name: attrs[name] for name in _ATTRIBUTES & attrs.keys() if isinstance(attrs[name], int)}
    if len(known) != len(attrs) or not _is_sound(known, inputs):
        return None
    names = ["" if value is None else f"x{index}" for index, value in enumerate(inputs)]
    node: NodeProto = helper.make_node(op_type, names, ["y"], **known)
    results = evaluate_node(node, _OPSET, inputs)
    return None if results is None or len(results) != 1 else results[0]


def _is_sound(attrs: Mapping[str, int], inputs: Sequence[Array | None]) -> bool:
    """Whether the scales fit the values. The evaluator would broadcast those of any other shape."""
    values, scale, point = (*inputs, None, None)[:3]
    if any(array is not None and not _is_known(array.dtype) for array in inputs):
        return False
    if values is None or scale is None:
        return False
    if all(array is None or (array.size == 1 and array.ndim <= 1) for array in (scale, point)):
        return True
    if point is not None and point.shape != scale.shape:
        return False
    axis = _non_negative(attrs.get("axis", 1), values.ndim)
    if axis is None:
        return False
    if attrs.get("block_size", 0):
        size = attrs["block_size"]
        blocks = tuple(-(-n // size) if at == axis else n for at, n in enumerate(values.shape))
        return size > 0 and scale.shape == blocks
    return bool(scale.ndim == 1 and scale.size == values.shape[axis])


def integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the largest number of an integer type, one of four bits among them."""
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    return (0, 15) if dtype.name == "uint4" else (-8, 7)


def _is_known(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "fiu" or dtype.name in QUANTISED_TYPES


def _is_integer(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" or "int" in dtype.name


def _alike(again: Array, values: Array, dtype: np.dtype[Any]) -> bool:
    return again.shape == values.shape and bool(_equal(again, values, dtype).all())


def _equal(again: Array, values: Array, dtype: np.dtype[Any]) -> BoolArray:
    """Where a dequantised value is the wanted one. A bias may differ by the rounding of its products."""
    allowed = _ROUNDING * np.abs(values) if dtype == np.int32 else 0
    return np.asarray(np.abs(again - values) <= allowed)


def _along(vector: Array | None, axis: int | None, rank: int) -> Array:
    """Scales or zero points as an array that broadcasts against a value of `rank`."""
    if vector is None:
        return np.zeros(())
    wide = vector.astype(np.float64)
    if axis is None:
        return wide.reshape(-1)[:1].reshape(()) if wide.size == 1 else wide
    return wide.reshape([-1 if other == axis else 1 for other in range(rank)])


def _non_negative(axis: int, rank: int) -> int | None:
    axis = axis + rank if axis < 0 else axis
    return axis if 0 <= axis < rank else None
