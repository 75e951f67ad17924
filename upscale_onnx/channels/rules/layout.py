"""How the axes of a reshaped value correspond: groups of axes with equal products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.axis_groups import AxisGroup, axis_groups
from upscale_onnx.channels.rules.merged_axes import merged, opened, split_dims
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, Dim, Dims


@dataclass(frozen=True)
class Layout:
    """How the axes of a value correspond to those that it is reshaped to.

    dims_in, dims_out: the dimensions of both. before, after: the same, with two for an axis that repeats its channels.
    repeats_in, repeats_out: the first of these two; None where there is no such axis. groups: axes with equal products.
    """

    dims_in: Dims
    dims_out: Dims
    before: list[Dim]
    after: list[Dim]
    repeats_in: int | None
    repeats_out: int | None
    groups: list[AxisGroup]

    def targets(self, found: ChannelMap, sizes: Sequence[Dim]) -> list[int | None]:
        """The size of each axis of the result for `sizes` of the axes `after`: None for axes without channels, -1 for
        one that repeats its channels. found: the map of the input, opened."""
        tracked = {axis for group in self.groups for axis in group.outputs if holds(found, group)}
        stated = [int(size) if axis in tracked and isinstance(size, int) else None for axis, size in enumerate(sizes)]
        if self.repeats_out is None:
            return stated
        return [*stated[: self.repeats_out], -1, *stated[self.repeats_out + 2 :]]


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
        new_shape(op, found.targets(opened(given), found.after), list(dims_in), list(dims_out))
    return found


def _grouped(given: ChannelMap, dims_in: Dims, dims_out: Dims) -> Layout:
    before, after, repeated = list(dims_in), list(dims_out), given.repeated
    repeats_out = None
    if repeated is not None:
        if dims_in[repeated] in dims_out:  # the same axis before and after
            repeats_out = dims_out.index(dims_in[repeated])
            after = split_dims(dims_out, repeats_out, given.shape[repeated])
        before = split_dims(dims_in, repeated, given.shape[repeated])
    found = opened(given)
    groups = axis_groups(before, after)
    open_group = _dynamic_group(found, before, after, groups)
    mended = None if open_group is None or repeats_out is not None else merged(before, after, open_group)
    if mended is not None and open_group is not None:
        before, after, count = mended
        repeats_out = open_group.outputs[0] if count > 1 else None
        groups = axis_groups(before, after)
        open_group = _dynamic_group(found, before, after, groups)
    if open_group is not None:
        raise Refused(Reason.DYNAMIC_AXIS, "reshapes the channel axis together with a dynamic one")
    return Layout(dims_in, dims_out, before, after, repeated, repeats_out, groups)


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
        result[rest[0]] = _remaining(dims_in, result[: rest[0]] + result[rest[0] + 1 :], result[rest[0]])
    return tuple(result)


def _remaining(dims_in: Dims, others: list[Dim], unknown: Dim) -> Dim:
    """The dimension that an entry of -1 stands for, if what the `others` leave is a number or one dynamic size."""
    left = list(dims_in)
    for dim in others:
        if not isinstance(dim, int):
            if dim not in left:
                return unknown
            left.remove(dim)
    names = [dim for dim in left if not isinstance(dim, int)]
    if not names and _product(others) > 0 and _product(left) % _product(others) == 0:
        return _product(left) // _product(others)
    same = _product(left) == _product(others)
    return names[0] if len(names) == 1 and same else unknown


def _product(dims: list[Dim]) -> int:
    return int(np.prod([dim for dim in dims if isinstance(dim, int)]))


def new_shape(op: Op, target: list[int | None], dims_in: list[Dim], dims_out: list[Dim]) -> Array | NewNode:
    """The shape input with `target` sizes; axes without a target keep their entry. Where entries are known at run time
    only, a node computes it from the present one. A 0 copies a size, so it may be used without `allowzero` only.

    Raises:
        Refused: an entry to change is not known, or a size is zero.
    """
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
    return NewNode("Add", (1, change)) if change.any() else NewNode("Identity", (1,))


def _difference(wanted: int | None, entry: Dim, dim: Dim) -> int:
    """What is added to an entry of the shape so that it states the size `wanted`: 0 where it is to stay."""
    if wanted is None or entry == -1:
        return 0
    if wanted == -1:
        raise Refused(Reason.DYNAMIC_PARAMETER, "the size of an axis that repeats channels is computed at run time")
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
