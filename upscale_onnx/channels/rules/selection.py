"""Selections: each output holds some indices of the input along one axis, known before the graph runs.

Along the channel axis, the picked channels may be emitted in any order. So a selection that only permutes is
removed, and the weights behind it take over its order. Along other axes selections are carriers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap, known_map
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import coordinates, locate, rows_along, without_axis
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.room import check_room
from upscale_onnx.errors import Reason
from upscale_onnx.types import IntArray

Outputs = tuple[IntArray, ...]
Indices = Sequence[IntArray | None]
"""Per output, where along the axis the input holds what the output keeps; None for outputs that are not used."""


@dataclass(frozen=True, eq=False)
class Picks:
    """What a node selects.

    axis: the axis of the selection. indices: per output, the indices along it; None where the axis has no channels.
    dropped: whether the axis is removed. alone: whether the node does nothing else; if not, it also selects along axes
    without channels.
    """

    axis: int
    indices: tuple[IntArray, ...] | None
    dropped: bool = False
    alone: bool = True


class Selection(Rule):
    """The base of rules for selections: each output holds the indices `picks` of the input along one axis."""

    @abstractmethod
    def picks(self, op: Op, found: ChannelMap) -> Picks:
        """What the node selects of a value with this map. Raises `Refused`."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        picked = self.picks(op, found)
        axis, picks, dropped = picked.axis, picked.indices, picked.dropped
        if picks is None:
            return Flow((_without(found, axis, dropped),) * len(op.used), role=Role.SELECTION)
        check_room(found.labels.size // max(found.shape[axis], 1), sum(pick.size for pick in picks))
        outputs = []
        for pick in picks:
            chosen = ChannelMap(found.labels.take(pick, axis), found.state.take(pick, axis))
            outputs.append(_without(chosen, axis, True) if dropped else chosen)
        if len(found.axes) == 1:
            alone = picked.alone and not dropped
            return Flow(tuple(outputs), role=Role.SELECTION, picks=picks if alone else None)
        evens = _aligned(found.labels, axis, picks)
        return Flow(tuple(outputs), evens=evens, fixed=(found.labels,), role=Role.SELECTION)

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        picked = self.picks(op, found)
        axis, picks, dropped = picked.axis, picked.indices, picked.dropped
        if picks is None:
            return Resize((without_axis(emission, axis) if dropped else emission,) * len(op.used))
        outputs: list[IntArray] = []
        indices: list[IntArray | None] = []
        for pick, target, used in zip(picks, request.out, op.used, strict=True):
            if target is None:
                raise Refused(Reason.UNKNOWN_SHAPE)
            if not used:
                outputs.append(np.zeros(0, np.int64))
                indices.append(None)
                continue
            if dropped or len(found.axes) > 1:
                given, index = _rows(found, emission, axis, pick)
                given = without_axis(given, axis) if dropped else given
            else:
                given, index = _choose(request, axis, pick, target)
            outputs.append(given)
            indices.append(index)
        if dropped:
            return _scalar(op, found, emission, axis, outputs, indices)
        return self.rewrite(op, request, axis, tuple(outputs), indices)

    def rewrite(self, op: Op, request: Request, axis: int, outputs: Outputs, indices: Indices) -> Resize:
        """The resize with the cheapest nodes: none, one Split, or a Slice or Gather per output."""
        found, emission = request.first_input()
        size = emission.shape[axis]
        used = [index for index in indices if index is not None and index.size]
        if len(indices) == 1 and _covers(used, size):
            return Resize(outputs, alias=0)
        picks = self.picks(op, found).indices
        if picks is not None and size == found.shape[axis] and _unchanged(picks, indices):
            return Resize(outputs)
        if len(used) > 1 and len(used) == len(indices) and _covers(used, size):
            sizes = np.asarray([index.size for index in used], np.int64)
            return Resize(outputs, replace=(_split(op, sizes, axis),))
        nodes = [
            selection_node(index, size, axis, number, op.opset)
            for number, index in enumerate(indices)
            if index is not None and index.size
        ]
        return Resize(outputs, replace=tuple(nodes))


def _split(op: Op, sizes: IntArray, axis: int) -> NewNode:
    if op.opset >= 13:
        return NewNode("Split", (0, sizes), -1, {"axis": axis})
    return NewNode("Split", (0,), -1, {"axis": axis, "split": [int(s) for s in sizes]})


def selection_node(index: IntArray, size: int, axis: int, output: int, opset: int) -> NewNode:
    """A node that selects `index` along an axis of `size`: an Identity for all of it, a Slice for a range of step 1,
    else a Gather."""
    start, stop = int(index[0]), int(index[-1]) + 1
    if not is_range(index):
        return NewNode("Gather", (0, index.astype(np.int64)), output, {"axis": axis})
    if stop - start == size:
        return NewNode("Identity", (0,), output)
    return slice_node([start], [stop], [axis], [1], output, opset)


def slice_node(
    starts: list[int], ends: list[int], axes: list[int], steps: list[int], output: int, opset: int, source: int = 0
) -> NewNode:
    """A Slice of the input `source` in the form of `opset`; before opset 10 all steps are 1."""
    if opset < 10:
        return NewNode("Slice", (source,), output, {"starts": starts, "ends": ends, "axes": axes})
    given = (starts, ends, axes) if all(step == 1 for step in steps) else (starts, ends, axes, steps)
    return NewNode("Slice", (source, *(np.asarray(values, np.int64) for values in given)), output)


def is_range(index: IntArray) -> bool:
    """Whether the indices ascend by one."""
    return bool((np.diff(index) == 1).all())


def _covers(used: Sequence[IntArray], size: int) -> bool:
    return bool(used) and np.array_equal(np.concatenate(used), np.arange(size))


def _unchanged(picks: Sequence[IntArray], indices: Indices) -> bool:
    return all(index is None or np.array_equal(pick, index) for pick, index in zip(picks, indices, strict=True))


def _without(found: ChannelMap, axis: int, dropped: bool) -> ChannelMap:
    if not dropped:
        return found
    return ChannelMap(without_axis(found.labels, axis), without_axis(found.state, axis))


def _scalar(
    op: Op, found: ChannelMap, emission: IntArray, axis: int, outputs: list[IntArray], indices: list[IntArray | None]
) -> Resize:
    """The resize of a selection by a scalar index, which is replaced by the index's present position."""
    index, old = indices[0], op.constant(1)
    if index is None or index.size == 0 or old is None:
        return Resize(tuple(outputs))
    place = int(index[0])
    same = emission.shape[axis] == found.shape[axis] and int(old) % found.shape[axis] == place
    return Resize(tuple(outputs), {} if same else {1: np.asarray(place, np.int64)})


def _aligned(labels: IntArray, axis: int, picks: Sequence[IntArray]) -> tuple[Even, ...]:
    """The grids that keep every pick at the same indices in all rows: all rows keep the same number of entries between
    the bounds of the picks or, where picks are no ranges, the same entries."""
    if not any(labels.shape[a] > 1 for a in range(axis)):
        return ()
    if not all(is_range(pick) for pick in picks):
        return (Even((rows_along(labels, axis),), aligned=True),)
    cuts = {0, labels.shape[axis]}
    cuts.update(int(bound) for pick in picks if pick.size for bound in (pick[0], pick[-1] + 1))
    bounds = sorted(cuts)
    runs = [np.arange(low, high) for low, high in pairwise(bounds)]
    return (Even(tuple(rows_along(labels.take(run, axis), axis) for run in runs)),)


def _choose(request: Request, axis: int, pick: IntArray, target: ChannelMap) -> tuple[IntArray, IntArray]:
    """The positions of the output that stay, in the plan's order, and where the input holds them."""
    found, emission = request.first_input()
    labels = target.labels.ravel()
    positions = request.choose.positions(labels)
    index = locate(pick[positions], emission)
    if request.choose.free(labels):
        # With the order of the input, a selection that only permutes needs no node.
        order = np.argsort(index, kind="stable")
        positions, index = positions[order], index[order]
    if (index < 0).any():
        raise Misaligned(found.labels)
    shape = [1] * found.rank
    shape[axis] = positions.size
    return positions.reshape(shape), index


def _rows(found: ChannelMap, emission: IntArray, axis: int, pick: IntArray) -> tuple[IntArray, IntArray]:
    """With several channel axes: the picked positions that the input still holds, and their indices along the
    axis, which must be the same in every row."""
    where = list(coordinates(emission, found.shape))
    rows = np.moveaxis(where[axis], axis, -1).reshape(-1, emission.shape[axis])
    located = np.stack([locate(pick, row) for row in rows]) if rows.size else np.zeros((1, 0), np.int64)
    present = located >= 0
    counts = present.sum(1)
    if (counts != counts[0]).any():
        raise Misaligned(found.labels)
    index = located[present].reshape(len(located), -1)
    if (index != index[0]).any():
        raise Misaligned(found.labels)
    given = [c.take(index[0], axis) for c in where]
    ordinal = np.nonzero(present)[1].reshape(len(located), -1)
    behind = [size for a, size in enumerate(given[axis].shape) if a != axis]
    given[axis] = np.moveaxis(ordinal.reshape(*behind, -1), -1, axis)
    full = [pick.size if a == axis else size for a, size in enumerate(found.shape)]
    return np.asarray(np.ravel_multi_index(tuple(given), full), np.int64), index[0]
