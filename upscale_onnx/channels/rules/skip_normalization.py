"""onnxruntime's SkipLayerNormalization: the sum of two values and a bias, normalised over the last axis.

Channels of zeros leave as they do from a LayerNormalization: where separate nodes make up for them, the sum is one of
these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, known_map, varying
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Rule
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.broadcast import common_shape, open_axes
from upscale_onnx.channels.rules.contents import constant_content
from upscale_onnx.channels.rules.layer_normalization import compensated, idle, rescaled, settled_by_scale
from upscale_onnx.channels.rules.selected_operands import selected
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array, BoolArray, IntArray

_SUM = 3
_SCALE = 2
_EPSILON = 1e-12  # by default
_SHIFT = 3  # the input that is the bias of the normalisation; where there is none, that of the sum
_SIMPLIFIED = "SkipSimplifiedLayerNormalization"


class SkipNormalization(Rule):
    """Inputs: X, skip, and vectors along the last axis: scale, B (unless simplified), bias. The last output is the sum
    before it is normalised. The order of channels is free."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        given = {0: known_map(maps[0]), 1: known_map(maps[1], "the skipped value")}
        if any(op.is_dynamic(index) for index in range(2, len(op.present))):
            raise Refused(Reason.DYNAMIC_PARAMETER, "affine parameters are computed at run time")
        if any(op.used[1:_SUM]):
            raise Refused(Reason.UNSUPPORTED_FORM, "a statistic is used")
        rank = given[0].rank
        if given[1].rank != rank:
            raise Refused(Reason.MIXED_LAYOUT, "operands of different rank")
        opened, born = open_axes(op, given, common_shape(list(given.values()), rank), None, fresh)
        left, right = opened[0], opened[1]
        if left.shape != right.shape or any(axis != rank - 1 for axis in left.axes):
            raise Refused(Reason.MIXED_LAYOUT, f"operands with channels {left.shape} and {right.shape}")
        parameters = [op.constant(index) for index in range(2, len(op.present))]
        finite = all(found is None or np.isfinite(found).all() for found in parameters)
        wild = is_wild(left.state) | is_wild(right.state) | (not finite)
        zeros = _zeros(op, opened.values(), left.shape)
        total = left.with_state(np.where(wild, WILD, np.where(zeros, 0.0, VARYING)))
        bias = op.constant(_SHIFT) if op.op_type == "SkipLayerNormalization" else None
        divides = bool(op.attrs.get("epsilon", _EPSILON))
        settled = settled_by_scale(left.shape, op.constant(_SCALE), bias) if divides else varying(left.shape)
        foldable = _idle(op, zeros)
        settled = np.where(zeros, 0.0, settled) if foldable is not None and op.op_type == _SIMPLIFIED else settled
        result = left.with_state(np.full(left.shape, WILD) if wild.any() else settled)
        outputs: tuple[ChannelMap | None, ...] = (result, None, None, total)
        labels = left.labels.ravel()
        reads = [Read(index, labels, labels, foldable=foldable) for index in opened]
        reads += [Read(index, given[index].labels.ravel()) for index in born]
        return Flow(outputs[: len(op.used)], ((left.labels, right.labels),), tuple(reads))

    def resize(self, op: Op, request: Request) -> Resize:
        result, emission = request.result, self._emission(request)
        outputs = (emission,) * len(op.used)
        if is_full(emission, result.shape):
            return Resize(outputs)
        picked = selected(op, 0, request, emission) | selected(op, 1, request, emission)
        vectors = {index: vector for index in range(2, len(op.present)) if (vector := op.constant(index)) is not None}
        cut = {index: vector.ravel()[emission.ravel()] for index, vector in vectors.items()}
        share = emission.size / result.labels.size
        if op.op_type == _SIMPLIFIED and share not in (0, 1):
            return Resize(outputs, *rescaled(op, cut, share, _SCALE, _EPSILON), computed=picked)
        operands = [known_map(found) for found in request.maps[:2]]
        if share in (0, 1) or _idle(op, _zeros(op, operands, result.shape)) is None:
            return Resize(outputs, cut, computed=picked)
        total = NewNode("Add", (picked.get(0, 0), picked.get(1, 1)))
        return Resize(outputs, replace=_written_out(op, total, result.rank, cut, share))

    def _emission(self, request: Request) -> IntArray:
        """The emission on which the operands agree. One without channels of its own is handed what stays of it."""
        found: IntArray | None = None
        for given, emission in zip(request.maps[:2], request.emissions[:2], strict=True):
            if given is not None and given.shape != request.result.shape:
                continue
            if emission is None or (found is not None and not np.array_equal(found, emission)):
                raise Misaligned(request.result.labels)
            found = emission
        assert found is not None, "one operand has the channels of the result"
        return found


def _written_out(op: Op, total: NewNode, rank: int, cut: Mapping[int, Array], share: float) -> tuple[NewNode, ...]:
    """The nodes in place of a SkipLayerNormalization of `total`, for each output that is used."""
    total = NewNode("Add", (total, cut[_SHIFT + 1])) if _SHIFT + 1 in cut else total
    result = compensated(op, total, rank, cut[_SCALE], cut.get(_SHIFT), share, _EPSILON)
    return (replace(total, output=_SUM), result) if any(op.used[_SUM:]) else (result,)


def _zeros(op: Op, operands: Iterable[ChannelMap], shape: tuple[int, ...]) -> BoolArray:
    """The channels of zeros of the sum, in a map of `shape`."""
    index = _SHIFT if op.op_type == _SIMPLIFIED else _SHIFT + 1
    bias = constant_content(op.constant(index), shape)
    zeros = np.full(shape, not op.has(index)) if bias is None else bias == 0
    for found in operands:
        zeros = zeros & (found.state == 0)
    return zeros


def _idle(op: Op, zeros: BoolArray) -> BoolArray | None:
    """The channels, `(n,)`, that are zero and for which the node can make up; None where it cannot, or need not."""
    scale, epsilon = op.constant(_SCALE), op.attrs.get("epsilon", _EPSILON)
    return None if scale is None else idle(zeros.ravel(), scale, epsilon, op.op_type == _SIMPLIFIED)


register(SkipNormalization(), "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=RUNTIME_DOMAIN)
