"""Gather of a constant by computed indices: the columns of a table of embeddings, say, are channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, vector_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Rule
from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array

_NUMBERS = "fiub"
# Of larger integers, not all are floats.
_LARGEST = 2.0**53


@dataclass(frozen=True, eq=False)
class _Table:
    """A table, and the axis of it that holds channels, with that axis of the result. rank: of the result."""

    values: Array
    axis: int
    made: int
    rank: int

    @property
    def columns(self) -> Array:
        """`(entries, channels)`: what a channel may hold."""
        return np.moveaxis(self.values, self.axis, -1).reshape(-1, self.values.shape[self.axis])


class Table(Rule):
    """The rule of the last axis of the table that is not gathered. A column of equal numbers is a constant."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        table = _table(op)
        columns = table.columns
        first = columns[0].astype(np.float64)
        same = (columns == columns[:1]).all(0) & (np.abs(first) < _LARGEST)
        finite = np.isfinite(columns).all(0)
        content = np.where(same, first, np.where(finite, VARYING, WILD))
        return Flow((vector_map(fresh(content.size), content, table.rank, table.made),))

    def resize(self, op: Op, request: Request) -> Resize:
        table, result = _table(op), request.result
        index = request.choose.positions(result.labels.ravel())
        emission = index.reshape([-1 if axis == table.made else 1 for axis in range(table.rank)])
        if np.array_equal(emission.ravel(), full_emission(result.shape).ravel()):
            return Resize((emission,))
        return Resize((emission,), {0: table.values.take(index, table.axis)})


def _table(op: Op) -> _Table:
    values, rank = op.constant(0), op.in_rank(1)
    if values is None or rank is None:
        raise Refused(Reason.UNKNOWN_SHAPE, "rank of the indices is not known")
    if values.ndim < 2 or values.size == 0 or values.dtype.kind not in _NUMBERS:
        raise Refused(Reason.UNSUPPORTED_FORM, f"a table of shape {values.shape} and type {values.dtype}")
    gathered = op.axis("axis", 0, values.ndim)
    if gathered == values.ndim:
        raise Refused(Reason.UNSUPPORTED_FORM, f"axis {gathered} of {values.ndim}")
    axis = values.ndim - 1 if gathered != values.ndim - 1 else values.ndim - 2
    return _Table(values, axis, axis if axis < gathered else axis + rank - 1, values.ndim - 1 + rank)
