"""A lookup in a constant table: an embedding, whose columns are the channels of its result."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Read, Request, Resize, Rule
from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, FloatArray, IntArray

_TABLE, _INDEX = 0, 1
# Of larger integers, not all are floats.
_LARGEST = 2.0**53


class Embedding(Rule):
    """Gather from a table `(V, …, C)`, constant, by indices of any rank. The last axis of the result has C channels.
    Where the last axis is the one that is gathered, `(…, C, V)`, the one before it holds the channels, in the result as
    well."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        table, axis = self._columns(op)
        labels = fresh(table.shape[axis])
        shape = [1] * self.result_rank(op, table)
        shape[axis if axis < table.ndim - 1 else -1] = labels.size
        content = column_content(np.moveaxis(table, axis, -1)).reshape(shape)
        out = ChannelMap(labels.reshape(shape), content, table=True)
        return looked_up(out, labels, maps[_INDEX] if len(maps) > _INDEX else None)

    def resize(self, op: Op, request: Request) -> Resize:
        labels = request.result.labels
        positions = request.choose.positions(labels.ravel())
        emission = positions.reshape([-1 if size > 1 else 1 for size in labels.shape])
        if np.array_equal(positions, np.arange(labels.size)):
            return Resize((emission,))
        table, axis = self._columns(op)
        return Resize((emission,), {_TABLE: table.take(positions, axis)})

    def result_rank(self, op: Op, table: Array) -> int:
        """The rank of the result. Raises `Refused` where it is not known."""
        rank = op.in_rank(_INDEX)
        if rank is None:
            raise Refused(Reason.UNKNOWN_SHAPE, "rank of the indices is not known")
        return rank + table.ndim - 1

    def channel_axis(self, op: Op, table: Array) -> int:
        """The axis of the table that holds channels: the last one that is not gathered."""
        return table.ndim - (2 if op.axis("axis", 0, table.ndim) == table.ndim - 1 else 1)

    def _columns(self, op: Op) -> tuple[Array, int]:
        """The table, and which of its axes holds channels."""
        table = op.constant(_TABLE)
        axis = -1 if table is None or table.ndim < 2 else self.channel_axis(op, table)
        if table is None or axis < 0 or not table.size or table.shape[axis] < 2:
            raise Refused(Reason.UNSUPPORTED_FORM, "a table without columns")
        return table, axis


class SlicedTable(Embedding):
    """A Slice of a constant, `(…, V, …, C)`, by bounds that are computed at run time. The last axis that is not sliced
    has C channels. A constant without such an axis has none. sliced: the axes that are sliced."""

    def __init__(self, sliced: Collection[int]) -> None:
        self._sliced = sliced

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        table = op.constant(_TABLE)
        assert table is not None
        axis = self.channel_axis(op, table)
        if axis >= 0 and table.shape[axis] > 1 and table.size:
            return super().flow(op, (), fresh)
        ones = (1,) * table.ndim
        content = column_content(table.reshape(-1, 1)) if table.size else np.full(1, VARYING)
        return Flow((ChannelMap(fresh(1).reshape(ones), content.reshape(ones)),))

    def resize(self, op: Op, request: Request) -> Resize:
        made = request.result
        return super().resize(op, request) if made.has_channels else Resize((full_emission(made.shape),))

    def result_rank(self, op: Op, table: Array) -> int:
        return table.ndim

    def channel_axis(self, op: Op, table: Array) -> int:
        return max((axis for axis in range(table.ndim) if axis not in self._sliced), default=-1)


def looked_up(out: ChannelMap, labels: IntArray, index: ChannelMap | None) -> Flow:
    """The flow of a node that makes the channels `labels` of `out` from a table. index: what is known of its second
    input, the indices, which it reads whole and in order."""
    if index is None:
        return Flow((out,), creates=True)
    places = index.labels.ravel()
    return Flow((out,), reads=(Read(_INDEX, places, labels),), fixed=(places,), creates=True)


def column_content(table: Array) -> FloatArray:
    """The number that each column holds in all rows, `(C,)`."""
    if table.dtype.kind not in "fiu":
        return np.full(table.shape[-1], VARYING)
    rows = table.reshape(-1, table.shape[-1])
    first = rows[0].astype(np.float64)
    same = (rows == rows[:1]).all(0) & (np.abs(first) < _LARGEST)
    content = np.where(same, first, VARYING)
    return np.where(np.isfinite(rows).all(0), content, WILD)
