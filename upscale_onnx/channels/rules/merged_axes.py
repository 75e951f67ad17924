"""Axes that hold channels once for each element of a batch that is merged with them: `(batch·heads, …)`.

Their size is known at run time only, and their channels repeat. Where a value is reshaped, such an axis counts as two:
how often the channels repeat, and the channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.axis_groups import AxisGroup
from upscale_onnx.errors import Reason
from upscale_onnx.types import Dim

# Names for the number of repetitions: of an input, and of a result.
_TIMES, _MERGED = "?times", "?merged"


def opened(found: ChannelMap) -> ChannelMap:
    """The map with two axes in place of one that repeats its channels."""
    if found.repeated is None:
        return found
    shape = split_shape(found.shape, found.repeated)
    return ChannelMap(found.labels.reshape(shape), found.state.reshape(shape))


def closed(found: ChannelMap, axis: int | None) -> ChannelMap:
    """The map of a value whose axes `axis` and `axis + 1` are one, along which the channels of the second repeat."""
    if axis is None:
        return found
    if found.shape[axis] > 1:
        raise Refused(Reason.DYNAMIC_AXIS, "channels that repeat along a dynamic axis also change with it")
    shape = joined_shape(found.shape, axis)
    repeated = axis if shape[axis] > 1 else None
    return ChannelMap(found.labels.reshape(shape), found.state.reshape(shape), repeated=repeated)


def split_shape(shape: Sequence[int], axis: int | None) -> tuple[int, ...]:
    """The shape with an axis of size 1 put in front of `axis`."""
    return tuple(shape) if axis is None else (*shape[:axis], 1, *shape[axis:])


def joined_shape(shape: Sequence[int], axis: int | None) -> tuple[int, ...]:
    """The shape without its `axis`, which has size 1."""
    return tuple(shape) if axis is None else (*shape[:axis], *shape[axis + 1 :])


def split_dims(dims: Sequence[Dim], axis: int, count: int) -> list[Dim]:
    """The dimensions with two in place of that of `axis`: how often `count` channels repeat, and `count`."""
    return [*dims[:axis], _TIMES, count, *dims[axis + 1 :]]


def merged(before: Sequence[Dim], after: Sequence[Dim], group: AxisGroup) -> tuple[list[Dim], list[Dim], int] | None:
    """The dimensions before and after, if a dynamic axis in front of channels becomes one that repeats some of them:
    that axis is split. Returns also how many channels repeat; None where the axes are not of this form.

    The first axes of the group are the dynamic ones. Since the elements are the same in number, the first one after
    is as large as the first one before, times the channels that are merged with it.
    """
    if not group.inputs or not group.outputs:
        return None
    first, made = group.inputs[0], group.outputs[0]
    if isinstance(before[first], int) or isinstance(after[made], int):
        return None
    inner, rest = before[first + 1 : group.inputs.stop], after[made + 1 : group.outputs.stop]
    sizes, left = _sizes(inner), _sizes(rest)
    if sizes is None or left is None or math.prod(sizes) % math.prod(left):
        return None
    count = math.prod(sizes) // math.prod(left)
    split = [*after[:made], _MERGED, *([count] if count > 1 else []), *after[made + 1 :]]
    return [*before[:first], _MERGED, *before[first + 1 :]], split, count


def _sizes(dims: Sequence[Dim]) -> list[int] | None:
    """The dimensions if all are known and not zero, else None."""
    sizes = [dim for dim in dims if isinstance(dim, int) and dim > 0]
    return sizes if len(sizes) == len(dims) else None
