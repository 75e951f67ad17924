"""Axes on which channels are merged with a dynamic size: `(batch·heads, …)`, or `(…, channels·height·width)`.

Where a value is reshaped, such an axis counts as two: the channels, and how often there is each of them (`times`). The
latter come first, or last where each channel fills a run of the axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap, Merged
from upscale_onnx.channels.flow import Misaligned
from upscale_onnx.channels.grid import axis_positions
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.axis_groups import AxisGroup
from upscale_onnx.errors import Reason
from upscale_onnx.types import Dim, IntArray

_MERGED = "?merged"  # a name for the times of a result


def times_axis(merged: Merged | None) -> int | None:
    """The axis of the times, once the merged axis counts as two."""
    return None if merged is None else merged.axis + merged.runs


def opened(found: ChannelMap) -> ChannelMap:
    """The map with two axes in place of a merged one."""
    shape = split_shape(found.shape, times_axis(found.merged))
    return ChannelMap(found.labels.reshape(shape), found.state.reshape(shape))


def closed(found: ChannelMap, merged: Merged | None) -> ChannelMap:
    """The map of a value that has the merged axis in place of two."""
    times = times_axis(merged)
    if merged is None or times is None:
        return found
    if found.shape[times] > 1:
        raise Refused(Reason.DYNAMIC_AXIS, "channels that are merged with a dynamic axis also change with it")
    shape = joined_shape(found.shape, times)
    held = merged if shape[merged.axis] > 1 else None
    return ChannelMap(found.labels.reshape(shape), found.state.reshape(shape), merged=held)


def split_shape(shape: Sequence[int], times: int | None) -> tuple[int, ...]:
    """The shape with an axis of size 1 put in front of the axis `times`."""
    return tuple(shape) if times is None else (*shape[:times], 1, *shape[times:])


def joined_shape(shape: Sequence[int], times: int | None) -> tuple[int, ...]:
    """The shape without its axis `times`, which has size 1."""
    return tuple(shape) if times is None else (*shape[:times], *shape[times + 1 :])


def split_dims(dims: Sequence[Dim], merged: Merged, count: int, times: str = "?times") -> list[Dim]:
    """The dimensions with two in place of the merged one: `count` channels, and the size called `times`."""
    pair = (count, times) if merged.runs else (times, count)
    return [*dims[: merged.axis], *pair, *dims[merged.axis + 1 :]]


def merging(before: Sequence[Dim], after: Sequence[Dim], group: AxisGroup) -> tuple[list[Dim], Merged | None] | None:
    """The dimensions after, if a group of axes merges channels with a dynamic size: that axis counts as two. Returns
    also which axis it is, None where no channels are left on it. None where the axes are not of this form.

    The elements are the same in number. So if dynamic axes in front are followed by known sizes before and after, they
    grow by the quotient of the products of these. The same holds for dynamic axes behind known sizes.
    """
    ins, outs = [before[axis] for axis in group.inputs], [after[axis] for axis in group.outputs]
    for runs in (False, True):
        dynamic, sizes = _ends(ins[::-1] if runs else ins)
        made, left = _ends(outs[::-1] if runs else outs)
        if not dynamic or made != 1 or sizes is None or left is None or sizes % left:
            continue
        axis, count = group.outputs[-1] if runs else group.outputs[0], sizes // left
        if count == 1:
            return [*after[:axis], _MERGED, *after[axis + 1 :]], None
        merged = Merged(axis, runs)
        return split_dims(after, merged, count, _MERGED), merged
    return None


def _ends(dims: Sequence[Dim]) -> tuple[int, int | None]:
    """How many dynamic sizes come first, and the product of those behind; None where not all of these are known."""
    first = next((place for place, dim in enumerate(dims) if isinstance(dim, int)), len(dims))
    sizes = [dim for dim in dims[first:] if isinstance(dim, int) and dim > 0]
    return first, math.prod(sizes) if len(sizes) == len(dims) - first else None


def merged_rows(index: int, result: ChannelMap, emission: IntArray, rank: int) -> dict[int, NewNode]:
    """By its index, what stays of an operand of `rank` axes without classes that has elements for each channel on the
    merged axis of the result; nothing where all channels stay.

    Raises:
        Misaligned: the channels that stay are not the same in all rows.
    """
    assert result.merged is not None
    axis, zero, one = result.merged.axis, np.asarray(0), np.asarray(1)
    count, own = np.asarray(result.shape[axis]), axis - result.rank + rank
    try:
        kept = axis_positions(emission, result.shape, axis)
    except ValueError:
        raise Misaligned(result.labels) from None
    if np.array_equal(kept, np.arange(result.shape[axis])):
        return {}
    times = NewNode("Div", (NewNode("Gather", (NewNode("Shape", (index,)), np.asarray(own))), count))
    starts = NewNode("Mul", (NewNode("Range", (zero, times, one)), count))
    places = NewNode("Add", (NewNode("Reshape", (starts, np.asarray([-1, 1]))), kept))
    return {index: NewNode("Gather", (index, NewNode("Reshape", (places, np.asarray([-1])))), attrs={"axis": own})}
