"""Operands without channels of their own, of which a node that works element by element needs what its result keeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from upscale_onnx.channels.channel_map import known_map
from upscale_onnx.channels.flow import Misaligned, Request
from upscale_onnx.channels.grid import axis_positions
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.rules.broadcast import lift, picked_from, row_axis, selected_axis
from upscale_onnx.channels.rules.merged_axes import merged_rows
from upscale_onnx.types import IntArray


def selected(op: Op, index: int, request: Request, emission: IntArray) -> dict[int, NewNode]:
    """A Gather of what stays of an operand without classes, by the operand's index; nothing for other operands. Where
    rows keep different entries, each is handed its own."""
    result, found = request.result, known_map(request.maps[index], "an operand")
    shape = result.shape
    copied = [axis for axis in sorted(op.copied.get(index, ())) if shape[axis] > 1 and found.shape[axis] == 1]
    if copied:
        return {index: _one_copy(index, copied)}
    if result.merged is not None and picked_from(op, index, lift(found, result.rank), result.merged):
        return merged_rows(index, result, emission, found.rank)
    axis = selected_axis(op, index, lift(found, len(shape)), shape)
    if axis is None:
        return {}
    try:
        rows = axis_positions(emission, shape, axis)
    except ValueError:
        row = row_axis(op, index, lift(found, len(shape)), shape)
        if row is None:
            raise Misaligned(request.result.labels) from None
        picked = emission.reshape(emission.shape[row], emission.shape[axis]) % shape[axis]
        missing = len(shape) - found.rank
        return {index: _by_row(index, picked, row - missing, axis - missing, found.rank)}
    if np.array_equal(rows, np.arange(shape[axis])):
        return {}
    return {index: NewNode("Gather", (index, rows), attrs={"axis": axis - len(shape) + found.rank})}


def _one_copy(index: int, axes: Sequence[int]) -> NewNode:
    """The operand with one of its copies along each of `axes`, which is broadcast."""
    one: int | NewNode = index
    for axis in axes:
        one = NewNode("Gather", (one, np.zeros(1, np.int64)), attrs={"axis": axis})
    assert isinstance(one, NewNode)
    return one


def _by_row(index: int, picked: IntArray, row: int, axis: int, rank: int) -> NewNode:
    """The operand with entries of its own for each row. picked: `(rows, entries)`. row, axis: of the operand, which has
    size 1 along `row`, or ends in front of it where that is -1."""
    one: int | NewNode = index if row < 0 else NewNode("Gather", (index, np.zeros((), np.int64)), attrs={"axis": row})
    order = list(range(rank + (row < 0)))
    place = axis - (row >= 0)
    order.insert(max(row, 0), order.pop(place))
    return NewNode("Transpose", (NewNode("Gather", (one, picked), attrs={"axis": place}),), attrs={"perm": order})
