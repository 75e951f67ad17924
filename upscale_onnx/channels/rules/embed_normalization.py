"""onnxruntime's EmbedLayerNormalization: the sum of rows of two or three tables, normalised.

Columns that are zero in all tables leave as channels of zeros do from a LayerNormalization: where separate nodes make
up for them, a Gather from each table makes the sum.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, varying, vector_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Read, Request, Resize, Rule
from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.embedding import column_content
from upscale_onnx.channels.rules.layer_normalization import compensated, idle, settled_by_scale
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array, BoolArray, IntArray

_WORDS, _SEGMENTS = 0, 1
_TABLES = (2, 3, 4)
_SCALE, _SHIFT, _MASK, _PLACES = 5, 6, 7, 8
_COUNT, _SUM = 1, 2
_EPSILON = 1e-12  # by default
_RANK = 3
_AXES_ARE_AN_INPUT = 13  # the first version of ReduceSum of which this is true
_BOUNDS_ARE_AN_INPUT = 10  # that of Slice


class EmbedNormalization(Rule):
    """Inputs: indices of words and segments `(B, S)`, tables `(…, C)` of words, places and segments, scale and shift
    `(C,)`, a mask, and indices of places. Outputs: `(B, S, C)`, the count of ones in the mask, `(B,)`, and the sum
    before it is normalised."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        tables, vectors = _parameters(op)
        labels = fresh(vectors[0].size)
        content = [column_content(table) for table in tables]
        wild = np.logical_or.reduce([is_wild(state) for state in content])
        total = np.where(wild, WILD, np.where(_zeros(tables), 0.0, VARYING))
        finite = not wild.any() and all(np.isfinite(vector).all() for vector in vectors)
        settled = settled_by_scale(labels.shape, *vectors) if _epsilon(op) else varying(labels.shape)
        made = np.where(finite, settled, WILD)
        count = ChannelMap(fresh(1), np.full(1, VARYING))
        outputs = (vector_map(labels, made, _RANK, 2), count, vector_map(labels, total, _RANK, 2))
        given = [(index, found) for index, found in enumerate(maps) if found is not None]
        reads = [Read(index, found.labels.ravel()) for index, found in given]
        reads.append(Read(_WORDS, labels, labels, foldable=_idle(op, tables, vectors[0])))
        fixed = tuple(found.labels for _, found in given)
        return Flow(outputs[: len(op.used)], reads=tuple(reads), fixed=fixed, creates=True)

    def resize(self, op: Op, request: Request) -> Resize:
        labels = request.result.labels
        positions = request.choose.positions(labels.ravel())
        emission = positions.reshape(1, 1, -1)
        outputs = (emission, full_emission((1,)), emission)[: len(op.used)]
        if np.array_equal(positions, np.arange(labels.size)):
            return Resize(outputs)
        tables, (scale, _) = _parameters(op)
        cut, share = _cut(op, positions), positions.size / labels.size
        if share == 0 or _idle(op, tables, scale) is None:
            return Resize(outputs, cut)
        return Resize(outputs, replace=_written_out(op, cut, share))


def _parameters(op: Op) -> tuple[list[Array], tuple[Array, Array]]:
    """The tables, and scale and shift. Raises `Refused` where they are no constants of one width."""
    tables = [op.constant(index) for index in _TABLES if op.has(index)]
    scale, shift = op.constant(_SCALE), op.constant(_SHIFT)
    if scale is None or shift is None or any(table is None for table in tables):
        raise Refused(Reason.DYNAMIC_PARAMETER, "tables, scale or shift are computed at run time")
    known = [table for table in tables if table is not None]
    if any(table.ndim != 2 or table.shape[1] != scale.size or not table.size for table in known) or scale.size < 2:
        raise Refused(Reason.UNSUPPORTED_FORM, f"tables of other widths than {scale.size}")
    return known, (scale.ravel(), shift.ravel())


def _zeros(tables: list[Array]) -> BoolArray:
    zeros: BoolArray = np.logical_and.reduce([column_content(table) == 0 for table in tables])
    return zeros


def _epsilon(op: Op) -> float:
    return float(op.attrs.get("epsilon", _EPSILON))


def _idle(op: Op, tables: list[Array], scale: Array) -> BoolArray | None:
    """The channels, `(C,)`, that are zero and for which separate nodes make up; None where they cannot, or need not."""
    counted = len(op.used) > _COUNT and op.used[_COUNT] and not op.has(_MASK)
    if counted or op.onnx_opset < _BOUNDS_ARE_AN_INPUT:
        return None
    return idle(_zeros(tables), scale, _epsilon(op), rms=False)


def _cut(op: Op, positions: IntArray) -> dict[int, Array]:
    vectors = {index: op.constant(index) for index in (*_TABLES, _SCALE, _SHIFT)}
    return {index: array[..., positions] for index, array in vectors.items() if array is not None}


def _written_out(op: Op, cut: dict[int, Array], share: float) -> tuple[NewNode, ...]:
    """The nodes in place of an EmbedLayerNormalization, for each output that is used."""
    words, places, segments = _TABLES
    total = NewNode("Gather", (cut[words], _WORDS))
    total = NewNode("Add", (total, _placed(op, cut[places])))
    if segments in cut:
        total = NewNode("Add", (total, NewNode("Gather", (cut[segments], _SEGMENTS))))
    used = (*op.used, False, False)
    made = [NewNode(total.op_type, total.inputs, _SUM)] if used[_SUM] else []
    made.append(compensated(op, made[0] if made else total, _RANK, cut[_SCALE], cut[_SHIFT], share, _EPSILON))
    return (*made, _counted(op)) if used[_COUNT] else tuple(made)


def _placed(op: Op, table: Array) -> NewNode:
    """The rows of the table of places: those that are given, or one for each word of a sequence."""
    if op.has(_PLACES):
        return NewNode("Gather", (table, _PLACES))
    length = NewNode("Gather", (NewNode("Shape", (_WORDS,)), np.asarray([1], np.int64)))
    return NewNode("Slice", (table, np.zeros(1, np.int64), length, np.zeros(1, np.int64)))


def _counted(op: Op) -> NewNode:
    """The count of ones in each row of the mask."""
    ones = NewNode("Cast", (NewNode("Equal", (_MASK, np.asarray(1, np.int32))),), attrs={"to": TensorProto.INT32})
    if op.onnx_opset < _AXES_ARE_AN_INPUT:
        return NewNode("ReduceSum", (ones,), _COUNT, {"axes": [1], "keepdims": 0})
    return NewNode("ReduceSum", (ones, np.ones(1, np.int64)), _COUNT, {"keepdims": 0})


register(EmbedNormalization(), "EmbedLayerNormalization", domain=RUNTIME_DOMAIN)
