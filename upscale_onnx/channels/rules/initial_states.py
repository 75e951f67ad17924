"""The initial states of LSTM, GRU and RNN: which hidden units they hold, and what is left of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap, known_map
from upscale_onnx.channels.flow import Maps, Misaligned, Request
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.cell import Cell
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, BoolArray, IntArray

STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
"""The inputs of each operator that are initial states. There are as many last states among its outputs."""


def places(op: Op) -> tuple[tuple[tuple[int, int], int], ...]:
    """The axes of directions and units, and the rank, of each output."""
    batch_first = op.attrs.get("layout", 0) == 1
    whole, last = (((2, 3), 4), ((1, 2), 3)) if batch_first else (((1, 3), 4), ((0, 2), 3))
    return (whole, *[last] * len(STATES[op.op_type]))


def held(op: Op, maps: Maps, index: int) -> ChannelMap | None:
    """The map of an initial state that is computed at run time; None for constants, and where there is none."""
    return known_map(maps[index], "an initial state") if op.is_dynamic(index) else None


def has_units(op: Op, found: ChannelMap, cell: Cell) -> bool:
    """Whether the map of an initial state tells hidden units apart. Raises `Refused` where it holds anything else."""
    (ways, units), rank = places(op)[1]
    if found.rank != rank or any(axis not in (ways, units) for axis in found.axes):
        raise Refused(Reason.MIXED_LAYOUT, "an initial state has channels along the batch")
    if found.shape[ways] not in (1, cell.directions) or found.shape[units] not in (1, cell.units):
        raise Refused(Reason.UNSUPPORTED_FORM, "weights and initial state disagree about the hidden units")
    return found.shape[units] > 1


def grid(op: Op, found: ChannelMap, shape: tuple[int, ...]) -> IntArray:
    """The classes of an initial state, for each direction and unit."""
    (ways, units), _ = places(op)[1]
    return np.broadcast_to(found.labels.reshape(found.shape[ways], found.shape[units]), shape)


def zero_starts(op: Op, cell: Cell, maps: Maps, index: int) -> BoolArray:
    """`(D, H)`: the units that start at zero, as far as input `index` says."""
    shape = (cell.directions, cell.units)
    (ways, units), rank = places(op)[1]
    array, found = op.constant(index), held(op, maps, index)
    if array is not None:
        if array.ndim != rank or (array.shape[ways], array.shape[units]) != shape:
            raise Refused(Reason.UNSUPPORTED_FORM, f"an initial state of shape {array.shape}")
        batch = next(axis for axis in range(rank) if axis not in (ways, units))
        return np.asarray((array == 0).all(axis=batch))
    if found is None:
        return np.ones(shape, bool)
    if not has_units(op, found, cell):
        return np.full(shape, bool((found.state == 0).all()))
    return np.broadcast_to((found.state == 0).reshape(found.shape[ways], found.shape[units]), shape)


def resized_states(
    op: Op, cell: Cell, request: Request, hidden: IntArray, rows: Sequence[IntArray]
) -> tuple[dict[int, Array], tuple[int, ...], dict[int, NewNode]]:
    """The constant initial states that are left, the inputs of states of zeros, which are left out, and what is taken
    of states of which nothing is known, such as inputs of the model.

    Raises: Misaligned where a state that is computed holds other units.
    """
    used = [d for d, row in enumerate(rows) if row.size]
    whole = len(used) == cell.directions and all(is_full(row, (cell.units,)) for row in rows)
    (ways, units), _ = places(op)[1]
    constants: dict[int, Array] = {}
    taken: dict[int, NewNode] = {}
    absent = []
    for index in STATES[op.op_type]:
        array, found = op.constant(index), held(op, request.maps, index)
        if array is not None and not whole:
            parts = [array.take([d], ways).take(rows[d], units) for d in used]
            constants[index] = np.concatenate(parts, ways)
        if found is None:
            continue
        if not found.axes and (found.state == 0).all():
            absent += [] if whole else [index]
            continue
        if not found.axes:
            if not whole:
                taken[index] = _taken(index, {d: rows[d] for d in used}, ways, units, cell)
            continue
        given = request.emissions[index]
        if given is None or not _holds(found, given, ways, units, rows, used, cell):
            raise Misaligned(hidden, found.labels)
    return constants, tuple(absent), taken


def _taken(index: int, rows: Mapping[int, IntArray], ways: int, units: int, cell: Cell) -> NewNode:
    """The units `rows` of the directions that are left, side by side."""
    if cell.directions == 1:
        return NewNode("Gather", (index, rows[0]), attrs={"axis": units})
    sides = [NewNode("Gather", (index, np.asarray([d])), attrs={"axis": ways}) for d in rows]
    parts = [
        NewNode("Gather", (side, row), attrs={"axis": units}) for side, row in zip(sides, rows.values(), strict=True)
    ]
    return parts[0] if len(parts) == 1 else NewNode("Concat", tuple(parts), attrs={"axis": ways})


def _holds(
    found: ChannelMap,
    given: IntArray,
    ways: int,
    units: int,
    rows: Sequence[IntArray],
    used: Sequence[int],
    cell: Cell,
) -> bool:
    """Whether an initial state holds the units `rows` of the directions `used`."""
    many = found.shape[ways] > 1
    if len(used) < cell.directions and not many:
        return False
    if given.shape[ways] != (len(used) if many else 1):
        return False
    for place, d in enumerate(used):
        wanted = rows[d] if found.shape[units] > 1 else np.zeros(1, np.int64)
        if found.shape[units] == 1 and not is_full(rows[d], (cell.units,)):
            return False
        base = d * found.shape[units] if many else 0
        if not np.array_equal(given.take(place if many else 0, ways).ravel(), base + wanted):
            return False
    return True
