"""How the axes of a reshaped value correspond: groups of axes with equal products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap, Merged
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.axis_groups import AxisGroup, axis_groups
from upscale_onnx.channels.rules.merged_axes import merging, opened, split_dims, times_axis
from upscale_onnx.errors import Reason
from upscale_onnx.model.size_products import quotient
from upscale_onnx.types import Array, Dim, Dims


@dataclass(frozen=True)
class Layout:
    """How the axes of a value correspond to those that it is reshaped to.

    dims_in, dims_out: the dimensions of both. before, after: the same, with two for a merged axis. times_in: the axis
    before that is merged with channels; None where there is none. merged: the merged axis of the result. groups: axes
    with equal products.
    """

    dims_in: Dims
    dims_out: Dims
    before: list[Dim]
    after: list[Dim]
    times_in: int | None
    merged: Merged | None
    groups: list[AxisGroup]

    @property
    def times_out(self) -> int | None:
        """The axis after that is merged with channels; None where there is none."""
        return times_axis(self.merged)

    def targets(self, found: ChannelMap, sizes: Sequence[Dim]) -> list[int | None]:
        """The size of each axis of the result for `sizes` of the axes `after`: None for axes without channels, -1 for
        the merged one. found: the map of the input, opened."""
        tracked = {axis for group in self.groups for axis in group.outputs if holds(found, group)}
        stated = [int(size) if axis in tracked and isinstance(size, int) else None for axis, size in enumerate(sizes)]
        if self.merged is None:
            return stated
        return [*stated[: self.merged.axis], -1, *stated[self.merged.axis + 2 :]]


def layout(op: Op, given: ChannelMap) -> Layout:
    """How the axes of a value with the map `given` correspond to those of the result. Raises `Refused`."""
    dims_in, dims_out = op.in_dims[0], op.out_dims[0]
    if dims_in is None or dims_out is None:
        raise Refused(Reason.UNKNOWN_SHAPE, "shape before or after is not known")
    # A dimension without a known size or name gets a name, since it is still equal to itself.
    dims_in = tuple(f"?{axis}" if dim is None else dim for axis, dim in enumerate(dims_in))
    if op.op_type == "Reshape":
        dims_out = _stated(op, dims_in, dims_out)
    if op.op_type == "Squeeze" and len(dims_in) - len(dims_out) > dims_in.count(1):
        raise Refused(Reason.UNKNOWN_SHAPE, "which axes are squeezed is not known")
    found = _grouped(given, dims_in, dims_out)
    if op.op_type == "Reshape":
        new_shape(op, found, opened(given), found.after)
    return found


def _grouped(given: ChannelMap, dims_in: Dims, dims_out: Dims) -> Layout:
    before, after, merged = list(dims_in), list(dims_out), None
    if given.merged is not None:
        count, axis = given.shape[given.merged.axis], given.merged.axis
        before = split_dims(dims_in, given.merged, count)
        if dims_in[axis] in dims_out:  # the same axis before and after
            merged = given.merged.at(dims_out.index(dims_in[axis]))
            after = split_dims(dims_out, merged, count)
    found = opened(given)
    groups = axis_groups(before, after)
    unclear = _dynamic_group(found, before, after, groups)
    mended = None if unclear is None or merged is not None else merging(before, after, unclear)
    if mended is not None:
        after, merged = mended
        groups = axis_groups(before, after)
        unclear = _dynamic_group(found, before, after, groups)
    if unclear is not None:
        raise Refused(Reason.DYNAMIC_AXIS, "reshapes the channel axis together with a dynamic one")
    return Layout(dims_in, dims_out, before, after, times_axis(given.merged), merged, groups)


def _dynamic_group(
    found: ChannelMap, before: Sequence[Dim], after: Sequence[Dim], groups: Sequence[AxisGroup]
) -> AxisGroup | None:
    """The first group that holds channels beside a dynamic size; None where there is none."""
    for group in groups:
        sizes = [before[axis] for axis in group.inputs] + [after[axis] for axis in group.outputs]
        same = len(group.inputs) == len(group.outputs) == 1
        if holds(found, group) and not same and any(not isinstance(size, int) for size in sizes):
            return group
    return None


def _stated(op: Op, dims_in: Dims, dims_out: Dims) -> Dims:
    """The output dimensions, completed for dynamic sizes by the shape input: a 0 in it copies the input's size."""
    entries = op.shape_values[1] if len(op.shape_values) > 1 else None
    if entries is None:
        raise Refused(Reason.DYNAMIC_PARAMETER, "shape is computed at run time")
    result = list(dims_out)
    copies = not op.attrs.get("allowzero", 0)
    for axis, entry in enumerate(entries[: len(result)]):
        if entry == 0 and axis < len(dims_in) and copies:
            result[axis] = dims_in[axis]
        elif isinstance(entry, str) and not isinstance(result[axis], int):
            result[axis] = entry
    rest = [axis for axis, entry in enumerate(entries[: len(result)]) if entry == -1]
    if len(rest) == 1 and not isinstance(result[rest[0]], int):
        others = result[: rest[0]] + result[rest[0] + 1 :]
        result[rest[0]] = quotient(dims_in, others) or result[rest[0]]
    return tuple(result)


def new_shape(op: Op, axes: Layout, found: ChannelMap, sizes: Sequence[Dim]) -> Array | NewNode:
    """The shape input for `sizes` of the axes `after`; axes without channels keep their entry. Where entries are known
    at run time only, a node computes it from the present one. A 0 copies a size, so it may be used without `allowzero`
    only. found: the map of the input, opened.

    Raises:
        Refused: an entry to change is not known, or a size is zero.
    """
    target, dims_in, dims_out = axes.targets(found, sizes), axes.dims_in, axes.dims_out
    entries = op.shape_values[1] if len(op.shape_values) > 1 else None
    if entries is None or len(entries) != len(target):
        raise Refused(Reason.DYNAMIC_PARAMETER, "shape is computed at run time")
    if op.attrs.get("allowzero", 0) and 0 in entries:
        raise Refused(Reason.UNSUPPORTED_FORM, "shape of an empty value")
    shape: list[int] = []
    for axis, (wanted, entry) in enumerate(zip(target, entries, strict=True)):
        dim = dims_out[axis]
        if wanted is not None:
            shape.append(wanted)
        elif isinstance(entry, int):
            shape.append(entry)
        elif isinstance(dim, int):
            shape.append(dim)
        elif axis < len(dims_in) and entry is not None and dims_in[axis] == entry:
            shape.append(0)
        else:
            shape.append(-1)
    if shape.count(-1) <= 1:
        return np.asarray(shape, np.int64)
    change = np.asarray(list(map(_difference, target, entries, dims_out)), np.int64)
    given = _scaled(axes, sizes, entries)
    if change.any():
        return NewNode("Add", (1 if given is None else given, change))
    return given or NewNode("Identity", (1,))


def _scaled(axes: Layout, sizes: Sequence[Dim], entries: Dims) -> NewNode | None:
    """The entries, of which that of a merged axis states as many channels as are left; None where it stays."""
    merged = axes.merged
    if merged is None or entries[merged.axis] == -1:
        return None
    place = merged.axis + (not merged.runs)
    whole, left = axes.after[place], sizes[place]
    if not isinstance(whole, int) or not isinstance(left, int) or entries[merged.axis] is None:
        raise Refused(Reason.DYNAMIC_PARAMETER, "the size of a merged axis is computed at run time")
    if whole == left:
        return None
    factors = np.ones((2, len(entries)), np.int64)
    factors[:, merged.axis] = left, whole
    return NewNode("Div", (NewNode("Mul", (1, factors[0])), factors[1]))


def _difference(wanted: int | None, entry: Dim, dim: Dim) -> int:
    """What is added to an entry of the shape so that it states the size `wanted`: 0 where it is to stay or, for a
    merged axis (-1), is scaled."""
    if wanted is None or -1 in (entry, wanted):
        return 0
    stated = entry if isinstance(entry, int) and entry > 0 else dim
    if entry is None or not isinstance(stated, int) or entry == 0:
        raise Refused(Reason.DYNAMIC_PARAMETER, "an entry of the shape is computed at run time")
    return wanted - stated


def holds(found: ChannelMap, group: AxisGroup) -> bool:
    return any(found.shape[axis] > 1 for axis in group.inputs)


def written_out_sizes(found: ChannelMap, axes: Layout) -> tuple[list[int], list[int]]:
    """The sizes before and after: full sizes in groups with channels, 1 elsewhere. found: the map, opened.

    Raises:
        Refused: the numbers of elements differ.
    """
    dims_in, dims_out = axes.before, axes.after
    sizes_in, sizes_out = [1] * len(dims_in), [1] * len(dims_out)
    for group in axes.groups:
        if not holds(found, group):
            continue
        for axis in group.inputs:
            size = dims_in[axis]
            sizes_in[axis] = size if isinstance(size, int) else found.shape[axis]
        for axis in group.outputs:
            size = dims_out[axis]
            sizes_out[axis] = size if isinstance(size, int) else found.shape[group.inputs[0]]
    if math.prod(sizes_in) != math.prod(sizes_out):
        raise Refused(Reason.UNSUPPORTED_FORM, f"{math.prod(sizes_in)} elements are reshaped to {math.prod(sizes_out)}")
    return sizes_in, sizes_out
