"""Concat: along the channel axis, the result holds the classes of all operands side by side; along another
axis, operands are tied channel by channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import coordinates, full_emission, is_full, rectangle, rows_along, take
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.room import check_room
from upscale_onnx.channels.rules.broadcast import common_shape
from upscale_onnx.errors import Reason
from upscale_onnx.types import IntArray


class Concat(Rule):
    """The rule of operands of the same rank. Constants and values without channel axes get new classes."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        parts, rank, axis = _parts(op, maps)
        shape = common_shape([part for part in parts if part is not None], rank, axis)
        along = any(part is not None and part.shape[axis] > 1 for part in parts)
        if not along and all(size == 1 for size in shape) and not _small(op, axis):
            return self._untracked(parts, rank, fresh)
        stacked = along or (_small(op, axis) and not _alike(parts))
        opened: list[ChannelMap] = []
        fixed: list[IntArray] = []
        reads: list[Read] = []
        for index, part in enumerate(parts):
            grown = _open(op, index, part, shape, axis, along, fresh)
            opened.append(grown)
            if part is not None and grown.labels is not part.labels:
                # A value without classes of its own on each of these axes stays whole and in order.
                fixed += [grown.labels, part.labels]
                reads += [Read(index, grown.labels.ravel()), Read(index, part.labels.ravel())]
        if stacked:
            labels = np.concatenate([part.labels for part in opened], axis)
            state = np.concatenate([part.state for part in opened], axis)
            found = ChannelMap(labels, state)
            evens = _rectangles(found, [part.labels for part in opened], axis)
            order = (*fixed, labels) if evens else tuple(fixed)
            return Flow((found,), (), tuple(reads), evens, order, droppable=True, role=Role.JOIN)
        first = opened[0].labels
        found = ChannelMap(first, _merged([part.state for part in opened]))
        ties = tuple((first, part.labels) for part in opened[1:])
        return Flow((found,), ties, tuple(reads), (), tuple(fixed), role=Role.JOIN)

    def _untracked(self, parts: list[ChannelMap | None], rank: int, fresh: Fresh) -> Flow:
        """The flow where no operand has a channel axis: the result is one class, which reads the operands."""
        target = fresh(1)
        known = [part for part in parts if part is not None]
        wild = any(is_wild(part.state).any() for part in known)
        state = _merged([part.state for part in known]) if len(known) == len(parts) else np.full((1,) * rank, VARYING)
        state = np.where(wild, WILD, state)
        reads = tuple(Read(index, part.labels.ravel(), target) for index, part in enumerate(parts) if part is not None)
        return Flow((ChannelMap(target.reshape((1,) * rank), state),), (), reads, role=Role.JOIN)

    def resize(self, op: Op, request: Request) -> Resize:
        parts, _, axis = _parts(op, request.maps)
        result = request.result
        along = any(part is not None and part.shape[axis] > 1 for part in parts)
        if not along and all(size == 1 for size in result.shape):
            return Resize((full_emission(result.shape),))
        if result.shape[axis] > 1 or along:
            return self._resize_along(op, request, axis)
        return self._resize_across(op, request)

    def _resize_along(self, op: Op, request: Request, axis: int) -> Resize:
        maps, result = request.maps, request.result
        offset, pieces, constants, drop = 0, [], {}, []
        for index in range(len(op.present)):
            size = _axis_size(op, index, maps[index], axis)
            shape = tuple(size if a == axis else s for a, s in enumerate(result.shape))
            given = request.emissions[index]
            constant = op.constant(index)
            if constant is not None:
                labels = np.take(result.labels, np.arange(offset, offset + size), axis)
                given = _constant_emission(labels, request.choose.positions(labels.ravel()))
                small = take(constant, given, shape)
                if small is not constant:
                    constants[index] = small
            elif given is None or given.size == 0:
                given = np.zeros([0 if a == axis else 1 for a in range(len(shape))], np.int64)
            elif maps[index] is not None and maps[index].shape != shape:  # type: ignore[union-attr]
                given = full_emission(shape)
            if given.size == 0:
                drop.append(index)
            else:
                where = list(coordinates(given, shape))
                where[axis] = where[axis] + offset
                pieces.append(np.ravel_multi_index(tuple(where), result.shape))
            offset += size
        if not pieces:
            return Resize((np.zeros([0 if a == axis else 1 for a in range(len(result.shape))], np.int64),))
        others = {tuple(s for a, s in enumerate(piece.shape) if a != axis) for piece in pieces}
        if len(others) > 1:
            raise Misaligned(result.labels)
        emission = np.concatenate(pieces, axis)
        if len(pieces) == 1 and not constants:
            left = next(index for index in range(len(op.present)) if index not in drop)
            return Resize((emission,), alias=left)
        return Resize((emission,), constants, drop=tuple(drop))

    def _resize_across(self, op: Op, request: Request) -> Resize:
        result = request.result
        found: IntArray | None = None
        for index, (part, given) in enumerate(zip(request.maps, request.emissions, strict=True)):
            if op.is_constant(index):
                continue
            if part is not None and part.shape != result.shape:
                given = full_emission(result.shape)
            if given is None or (found is not None and not np.array_equal(found, given)):
                raise Misaligned(result.labels)
            found = given
        if found is None or is_full(found, result.shape):
            return Resize((full_emission(result.shape),))
        constants = {}
        for index in range(len(op.present)):
            constant = op.constant(index)
            if constant is not None:
                constants[index] = take(constant, found, result.shape)
        return Resize((found,), constants)


def _parts(op: Op, maps: Maps) -> tuple[list[ChannelMap | None], int, int]:
    """The map of each operand (None for a constant), the rank and the axis."""
    parts: list[ChannelMap | None] = []
    rank = -1
    for index in range(len(op.present)):
        constant = op.constant(index)
        found = maps[index]
        if constant is None and found is None:
            raise Refused(Reason.UNKNOWN_SHAPE, "rank of an operand is not known")
        parts.append(None if constant is not None else found)
        rank = max(rank, constant.ndim if constant is not None else found.rank if found is not None else 0)
    return parts, rank, op.axis("axis", 1, rank)


def _small(op: Op, axis: int) -> bool:
    """Whether every operand holds one index along the axis, so that it may become a channel axis."""
    return all(dims is not None and dims[axis] == 1 for dims in op.in_dims) and len(op.in_dims) > 1


def _alike(parts: Sequence[ChannelMap | None]) -> bool:
    """Whether all operands have the same classes and contents: steps of a recurrence that was written out, say. The
    axis on which they are put together then needs no channels."""
    first = parts[0]
    return all(
        part is not None
        and first is not None
        and part.axes != ()
        and np.array_equal(part.labels, first.labels)
        and np.array_equal(part.state, first.state, equal_nan=True)
        for part in parts
    )


def _axis_size(op: Op, index: int, part: ChannelMap | None, axis: int) -> int:
    constant, dims = op.constant(index), op.in_dims[index]
    if constant is not None:
        return int(constant.shape[axis])
    if part is not None and part.shape[axis] > 1:
        return part.shape[axis]
    size = None if dims is None else dims[axis]
    if not isinstance(size, int):
        raise Refused(Reason.DYNAMIC_AXIS, "size of an operand along the channel axis is not known")
    return size


def _open(
    op: Op, index: int, part: ChannelMap | None, shape: tuple[int, ...], axis: int, along: bool, fresh: Fresh
) -> ChannelMap:
    """The operand's map with one entry per channel of the result. Axes without classes get new ones."""
    size = _axis_size(op, index, part, axis) if along else 1
    wanted = tuple(size if a == axis else s for a, s in enumerate(shape))
    if part is not None and part.shape == wanted:
        return part
    dims = op.in_dims[index]
    for a, count in enumerate(wanted):
        if part is not None and count > 1 and (dims is None or dims[a] != count):
            raise Refused(Reason.DYNAMIC_AXIS, "size of an operand along a channel axis is not known")
    check_room(*wanted)
    labels = fresh(int(np.prod(wanted))).reshape(wanted)
    constant = op.constant(index)
    if part is not None:
        return ChannelMap(labels, np.broadcast_to(part.state, wanted).copy())
    if constant is None or constant.ndim != len(wanted):
        raise Refused(Reason.UNSUPPORTED_FORM, "operands of different rank")
    values = np.where(np.isfinite(constant), constant, WILD).astype(np.float64)
    spread = np.broadcast_to(np.arange(labels.size).reshape(wanted), values.shape)
    if any(values.shape[a] != count for a, count in enumerate(wanted) if count > 1):
        raise Refused(Reason.MIXED_LAYOUT, "constant operand without the channels of the others")
    low, high = np.full(labels.size, np.inf), np.full(labels.size, -np.inf)
    np.minimum.at(low, spread.ravel(), values.ravel())
    np.maximum.at(high, spread.ravel(), values.ravel())
    state = np.where(np.isinf(high), WILD, np.where(low == high, low, VARYING))
    return ChannelMap(labels, state.reshape(wanted))


def _rectangles(found: ChannelMap, parts: list[IntArray], axis: int) -> tuple[Even, ...]:
    """The grids that keep the result with several channel axes, and every operand, rectangular with the same rows."""
    axes = found.axes
    if len(axes) < 2:
        return ()
    whole = Even((found.labels.reshape([found.shape[a] for a in axes]),))
    if axis == axes[0]:
        return (whole,)
    return whole, Even(tuple(rows_along(part, axis) for part in parts if part.size))


def _merged(states: list[np.ndarray]) -> np.ndarray:
    """The contents of operands that are concatenated along another axis than the channel axis."""
    wild = np.logical_or.reduce([is_wild(state) for state in states])
    same = np.logical_and.reduce([state == states[0] for state in states])
    return np.where(wild, WILD, np.where(same, states[0], VARYING))


def _constant_emission(labels: IntArray, positions: IntArray) -> IntArray:
    """The emission of a constant operand that is left with `positions`."""
    axes = [axis for axis, size in enumerate(labels.shape) if size > 1]
    if len(axes) > 1:
        positions = np.sort(positions)
        shape_left = rectangle(np.unravel_index(positions, labels.shape), labels.shape)
        if shape_left is None:
            raise Misaligned(labels)
        return positions.reshape(shape_left)
    shape = [1] * labels.ndim
    shape[axes[0] if axes else 0] = positions.size
    return positions.reshape(shape)


register(Concat(), "Concat")
