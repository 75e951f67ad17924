"""How the channel maps of broadcast operands are combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap, Merged
from upscale_onnx.channels.flow import Even, Fresh, Read
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.room import check_pattern_room, check_room
from upscale_onnx.channels.rules.levels import with_levels
from upscale_onnx.errors import Reason
from upscale_onnx.types import Dims, IntArray

_FIRST_RANGE = 11


def operand_rank(op: Op, index: int) -> int:
    constant = op.constant(index)
    if constant is not None:
        return int(constant.ndim)
    rank = op.in_rank(index)
    if rank is None:
        raise Refused(Reason.UNKNOWN_SHAPE, "rank of an operand is not known")
    return rank


def lift(found: ChannelMap, rank: int) -> ChannelMap:
    """The map with leading axes of size 1, as broadcasting aligns it."""
    shape = (1,) * (rank - found.rank) + found.shape
    merged = None if found.merged is None else found.merged.at(found.merged.axis + rank - found.rank)
    levels = None if found.levels is None else found.levels.reshape((1,) * (rank - found.rank) + found.levels.shape)
    labels, state = found.labels.reshape(shape), found.state.reshape(shape)
    return ChannelMap(labels, state, wild=found.wild, merged=merged, levels=levels)


def operand_dims(op: Op, index: int, rank: int) -> Dims:
    """The sizes of an operand, with 1 along axes along which it is broadcast, by an Expand, too."""
    dims = op.in_dims[index]
    if dims is None:
        raise Refused(Reason.UNKNOWN_SHAPE, "rank of an operand is not known")
    copied = op.copied.get(index, frozenset())
    own = tuple(1 if axis - len(dims) in copied else size for axis, size in enumerate(dims))
    return (1,) * (rank - len(dims)) + own


def common_shape(maps: Sequence[ChannelMap], rank: int, beside: int | None = None) -> tuple[int, ...]:
    """The map shape of the result: per axis the channel count, or 1 where there are no channels, and on the axis
    `beside`. Raises `Refused` where operands differ, or the map would be too large."""
    shape = []
    for axis in range(rank):
        sizes = {found.shape[axis] for found in maps if axis != beside} - {1}
        if len(sizes) > 1:
            raise Refused(Reason.MIXED_LAYOUT, f"operands have {sorted(sizes)} channels on one axis")
        shape.append(sizes.pop() if sizes else 1)
    check_room(*shape)
    return tuple(shape)


def common_merged(op: Op, lifted: dict[int, ChannelMap], connected: Sequence[int], rank: int) -> Merged | None:
    """The axis of the result on which channels are merged with a dynamic size; None where there is none.

    Raises: Refused where an operand has other channels along that axis, or a constant has elements there.
    """
    found = {given.merged for given in lifted.values() if given.merged is not None}
    if not found:
        return None
    merged = found.pop()
    constants = [index for index in connected if index not in lifted]
    others = [given for given in lifted.values() if given.merged is None]
    told_apart = any(operand_dims(op, index, rank)[merged.axis] != 1 for index in constants)
    if found or told_apart or any(given.shape[merged.axis] > 1 for given in others):
        raise Refused(Reason.DYNAMIC_AXIS, "channels of one operand are merged with a dynamic axis")
    return merged


def all_stay(op: Op, lifted: Mapping[int, ChannelMap], merged: Merged | None, rank: int) -> bool:
    """Whether an operand has elements for each channel that is merged with a dynamic size, but no classes, and cannot
    be handed those of some channels: the channels stay then."""
    plain = [index for index, given in lifted.items() if given.merged is None]
    return merged is not None and any(
        operand_dims(op, index, rank)[merged.axis] != 1 and not picked_from(op, index, lifted[index], merged)
        for index in plain
    )


def picked_from(op: Op, index: int, found: ChannelMap, merged: Merged | None) -> bool:
    """Whether an operand without classes, `found` in its map, has an element for each channel that is merged with a
    dynamic size, and a Gather can hand the node those of some channels."""
    if merged is None or merged.runs or found.has_channels or op.onnx_opset < _FIRST_RANGE:
        return False
    size, out = operand_dims(op, index, found.rank)[merged.axis], op.out_dims[0]
    return size not in (1, None) and out is not None and out[merged.axis] == size


def open_axes(
    op: Op, lifted: dict[int, ChannelMap], shape: tuple[int, ...], merged: Merged | None, fresh: Fresh
) -> tuple[dict[int, ChannelMap], dict[int, IntArray]]:
    """Give new classes to operands that are not broadcast along a channel axis and have no classes there (a
    graph input, the result of a barrier), except along a merged axis. Returns all maps, and the new classes."""
    rank = len(shape)
    opened = dict(lifted)
    born: dict[int, IntArray] = {}
    for index, found in lifted.items():
        dims, wide = operand_dims(op, index, rank), _opened(op, index, found, shape)
        wide = [axis for axis in wide if merged is None or axis != merged.axis]
        if not wide:
            continue
        if any(dims[axis] != shape[axis] for axis in wide):
            raise Refused(Reason.DYNAMIC_AXIS, "an operand's size along a channel axis is not known")
        size = tuple(shape[axis] if axis in wide else found.shape[axis] for axis in range(rank))
        labels = fresh(int(np.prod(size))).reshape(size)
        born[index] = labels
        grown = ChannelMap(labels, np.broadcast_to(found.state, size).copy(), wild=found.wild, merged=found.merged)
        opened[index] = with_levels(grown, found.levels)
    return opened, born


def _opened(op: Op, index: int, found: ChannelMap, shape: tuple[int, ...]) -> list[int]:
    """The axes along which an operand has elements for each channel of the result, but no classes."""
    dims = operand_dims(op, index, len(shape))
    return [axis for axis, size in enumerate(shape) if size > 1 and found.shape[axis] == 1 and dims[axis] != 1]


def selected_axis(op: Op, index: int, found: ChannelMap, shape: tuple[int, ...]) -> int | None:
    """The only axis along which an operand is opened, if it has no channel axes: a Gather hands the node what stays of
    such an operand. None for all other operands, which must stay whole."""
    wide = _opened(op, index, found, shape)
    return wide[0] if len(wide) == 1 and not found.axes else None


def row_axis(op: Op, index: int, found: ChannelMap, shape: tuple[int, ...]) -> int | None:
    """The axis of heads, say, along which an operand that is opened along an axis behind has one row for all. Each of
    them can be handed entries of its own: a table of cosines, those of the pairs of features that a head keeps. None
    where there is no such axis."""
    axes, opened = [axis for axis, size in enumerate(shape) if size > 1], selected_axis(op, index, found, shape)
    if len(axes) != 2 or opened != axes[1] or operand_dims(op, index, len(shape))[axes[0]] != 1:
        return None
    return axes[0] if axes[0] - len(shape) + operand_rank(op, index) >= -1 else None


def vector_shape(op: Op, dynamic: Sequence[int], rank: int) -> tuple[int, ...] | None:
    """The map shape of a result to which constants alone give channels: the operands computed at run time hold one
    number, and a constant is a vector. None for any other result."""
    if any(size != 1 for index in dynamic for size in operand_dims(op, index, rank)):
        return None
    shapes = [array.shape for index in range(len(op.present)) if (array := op.constant(index)) is not None]
    wide = {(1,) * (rank - len(shape)) + shape for shape in shapes if any(size != 1 for size in shape)}
    if len(wide) != 1:
        return None
    (shape,) = wide
    if 0 in shape or sum(size > 1 for size in shape) != 1:
        return None
    check_room(*shape)
    return shape


def broadcast_operand(index: int, found: ChannelMap, labels: IntArray, rows: bool = False) -> tuple[Read, list[Even]]:
    """The read and grids that bind an operand to `labels`, along whose axes it is broadcast. rows: whether each row of
    the grid can be handed entries of its own."""
    slots = np.broadcast_to(np.arange(found.labels.size).reshape(found.shape), labels.shape)
    order = np.argsort(slots.ravel(), kind="stable")
    by_entry = labels.ravel()[order].reshape(found.labels.size, -1)
    if found.labels.size == 1:
        return Read(index, found.labels.ravel(), labels.ravel()), []
    check_pattern_room(labels.size, found.labels.size)
    pattern = slots.ravel()[:, None] == np.arange(found.labels.size)
    even = Even((found.labels.reshape(-1, 1), by_entry))
    read = Read(index, found.labels.ravel(), labels.ravel(), pattern)
    grid = labels.reshape([size for size in labels.shape if size > 1])
    if rows:
        return read, [Even((grid,))]
    outer = [axis for axis in range(max(found.axes)) if found.shape[axis] == 1 and labels.shape[axis] > 1]
    if outer:
        # The operand has one row for all rows of the grid, so that these must keep the same entries, not only as many.
        return read, [even, Even((grid,), aligned=True)]
    return read, [even]
