"""Slice, Split, Compress and Gather with constant bounds and indices."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Request, Resize, Role
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.embedding import Embedding, SlicedTable
from upscale_onnx.channels.rules.selection import Indices, Outputs, Picks, Selection, is_range, slice_node
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, IntArray


@dataclass(frozen=True)
class _Bounds:
    """The bounds of a Slice by axis; None for bounds computed at run time."""

    starts: list[int] | None
    ends: list[int] | None
    axes: list[int]
    steps: list[int]


class Slice(Selection):
    """The rule of a Slice by constant starts, ends, axes and steps. At most one of the axes may hold channels. Of a
    constant that is sliced by bounds that are computed at run time, the columns are channels."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        table = op.constant(0)
        return super().flow(op, maps, fresh) if table is None else _sliced(op, table).flow(op, maps, fresh)

    def resize(self, op: Op, request: Request) -> Resize:
        table = op.constant(0)
        return super().resize(op, request) if table is None else _sliced(op, table).resize(op, request)

    def picks(self, op: Op, found: ChannelMap) -> Picks:
        bounds = _bounds(op, found.rank)
        hit = [number for number, axis in enumerate(bounds.axes) if axis in found.axes]
        if not hit:
            return Picks(0, None)
        if bounds.starts is None or bounds.ends is None:
            raise Refused(Reason.DYNAMIC_PARAMETER, "bounds along the channel axis are computed at run time")
        if len(hit) > 1:
            raise Refused(Reason.UNSUPPORTED_FORM, "slices several channel axes at once")
        number = hit[0]
        axis = bounds.axes[number]
        pick = _span(bounds.starts[number], bounds.ends[number], bounds.steps[number], found.shape[axis])
        if len(bounds.axes) > 1 and not is_range(pick):
            raise Refused(Reason.UNSUPPORTED_FORM, "slices channels by steps and another axis at once")
        return Picks(axis, (pick,), alone=all(other == axis for other in bounds.axes))

    def rewrite(self, op: Op, request: Request, axis: int, outputs: Outputs, indices: Indices) -> Resize:
        found, _ = request.first_input()
        bounds, index = _bounds(op, found.rank), indices[0]
        alone = len(bounds.axes) == 1 or bounds.starts is None or bounds.ends is None
        if alone or index is None or index.size == 0:
            return super().rewrite(op, request, axis, outputs, indices)
        if not is_range(index):
            raise Misaligned(found.labels)
        number = bounds.axes.index(axis)
        starts, ends = list(bounds.starts or ()), list(bounds.ends or ())
        starts[number], ends[number] = int(index[0]), int(index[-1]) + 1
        return Resize(outputs, replace=(slice_node(starts, ends, bounds.axes, bounds.steps, 0, op.opset),))


def _sliced(op: Op, table: Array) -> SlicedTable:
    return SlicedTable(_bounds(op, table.ndim).axes)


def _bounds(op: Op, rank: int) -> _Bounds:
    if op.opset < 10:
        starts, ends = [int(x) for x in op.attrs["starts"]], [int(x) for x in op.attrs["ends"]]
        axes = [int(a) % rank for a in op.attrs.get("axes", range(len(starts)))]
        return _Bounds(starts, ends, axes, [1] * len(starts))
    if op.is_dynamic(3) or op.is_dynamic(4):
        raise Refused(Reason.DYNAMIC_PARAMETER, "axes or steps are computed at run time")
    first, last, along, by = (_integers(op.constant(index)) for index in range(1, 5))
    count = next((len(values) for values in (first, last, along) if values is not None), None)
    if count is None:
        raise Refused(Reason.DYNAMIC_PARAMETER, "bounds are computed at run time")
    axes = [a % rank for a in along] if along is not None else list(range(count))
    steps = by if by is not None else [1] * count
    if any(len(values) != count for values in (first, last, axes, steps) if values is not None):
        raise Refused(Reason.UNSUPPORTED_FORM, "starts, ends, axes and steps differ in number")
    return _Bounds(first, last, axes, steps)


def _integers(constant: Array | None) -> list[int] | None:
    return None if constant is None else [int(x) for x in constant.ravel()]


def _span(start: int, end: int, step: int, size: int) -> IntArray:
    """The indices of an axis of `size`; bounds beyond it are clamped as the specification says."""
    if step == 0:
        raise Refused(Reason.UNSUPPORTED_FORM, "a step of zero")
    first, last = (start + size if start < 0 else start), (end + size if end < 0 else end)
    low, high = (0, size) if step > 0 else (0, size - 1)
    return np.arange(min(max(first, low), high), min(max(last, low if step > 0 else -1), high), step, dtype=np.int64)


class Split(Selection):
    """The rule of a Split. Sizes are given by an attribute, by an input, or equal."""

    def picks(self, op: Op, found: ChannelMap) -> Picks:
        axis = op.axis("axis", 0, found.rank)
        if axis not in found.axes:
            return Picks(axis, None)
        if op.is_dynamic(1):
            raise Refused(Reason.DYNAMIC_PARAMETER, "sizes are computed at run time")
        count, size = len(op.used), found.shape[axis]
        sizes = _integers(op.constant(1)) if op.has(1) else op.attrs.get("split")
        if sizes is None:
            width = -(-size // count)
            sizes = [max(min(width, size - width * number), 0) for number in range(count)]
        bounds = [0, *np.cumsum([int(s) for s in sizes]).tolist()]
        if bounds[-1] != size or len(sizes) != count or min(sizes) < 0:
            raise Refused(Reason.UNSUPPORTED_FORM, "sizes do not add up to the axis")
        return Picks(axis, tuple(np.arange(low, high) for low, high in pairwise(bounds)))


class Compress(Selection):
    """The rule of a Compress along an axis. Which channels it keeps is constant; it may choose among other indices at
    run time."""

    def picks(self, op: Op, found: ChannelMap) -> Picks:
        if "axis" not in op.attrs:
            raise Refused(Reason.UNSUPPORTED_FORM, "the input is flattened")
        axis, kept = op.axis("axis", 0, found.rank), op.constant(1)
        if axis not in found.axes:
            return Picks(axis, None)
        if kept is None:
            raise Refused(Reason.DYNAMIC_PARAMETER, "which channels are kept is computed at run time")
        return Picks(axis, (np.flatnonzero(kept[: found.shape[axis]]),))


class Gather(Selection):
    """The rule of a Gather. Along the channel axis the indices are constant: a vector selects, a scalar also drops
    the axis. Along other axes the indices may be computed at run time and have any rank. Of a constant table, the
    columns are channels."""

    def __init__(self) -> None:
        self._embedding = Embedding()

    def picks(self, op: Op, found: ChannelMap) -> Picks:
        axis, index = op.axis("axis", 0, found.rank), op.constant(1)
        if axis not in found.axes:
            return Picks(axis, None, dropped=self._index_rank(op) == 0)
        if index is None:
            raise Refused(Reason.DYNAMIC_PARAMETER, "indices are computed at run time")
        if index.ndim > 1:
            raise Refused(Reason.UNSUPPORTED_FORM, "indices of rank above 1")
        size = found.shape[axis]
        pick = np.atleast_1d(index).astype(np.int64)
        if ((pick < -size) | (pick >= size)).any():
            raise Refused(Reason.UNSUPPORTED_FORM, "indices beyond the axis")
        return Picks(axis, (pick % size,), dropped=index.ndim == 0)

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        if op.is_constant(0):
            return self._embedding.flow(op, maps, fresh)
        found = known_map(maps[0])
        picked = self.picks(op, found)
        extra = self._index_rank(op) - 1
        if picked.indices is not None or extra < 1:
            return super().flow(op, maps, fresh)
        shape = (*found.shape[: picked.axis], *[1] * extra, *found.shape[picked.axis :])
        out = ChannelMap(found.labels.reshape(shape), found.state.reshape(shape))
        return Flow((out,), role=Role.SELECTION)

    def resize(self, op: Op, request: Request) -> Resize:
        if op.is_constant(0):
            return self._embedding.resize(op, request)
        emission, extra = request.emissions[0], self._index_rank(op) - 1
        if emission is None or extra < 1:
            return super().resize(op, request)
        axis = op.axis("axis", 0, emission.ndim)
        return Resize((emission.reshape(*emission.shape[:axis], *[1] * extra, *emission.shape[axis:]),))

    def _index_rank(self, op: Op) -> int:
        index = op.constant(1)
        rank = index.ndim if index is not None else op.in_rank(1)
        if rank is None:
            raise Refused(Reason.UNKNOWN_SHAPE, "rank of the indices is not known")
        return rank


register(Slice(), "Slice")
register(Split(), "Split")
register(Compress(), "Compress", since=9)
register(Gather(), "Gather")
