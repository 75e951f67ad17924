"""onnxruntime's SkipLayerNormalization: the sum of two values and a bias, normalised over the last axis."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Rule
from upscale_onnx.channels.grid import full_emission, is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.broadcast import common_shape, open_axes
from upscale_onnx.channels.rules.normalization import settled_by_scale
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN

_SUM = 3
_SHIFT = 3  # the input that is the bias of the normalisation


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
        opened, born = open_axes(op, given, common_shape(list(given.values()), rank), rank, fresh)
        left, right = opened[0], opened[1]
        if left.shape != right.shape or any(axis != rank - 1 for axis in left.axes):
            raise Refused(Reason.MIXED_LAYOUT, f"operands with channels {left.shape} and {right.shape}")
        parameters = [op.constant(index) for index in range(2, len(op.present))]
        finite = all(found is None or np.isfinite(found).all() for found in parameters)
        wild = is_wild(left.state) | is_wild(right.state) | (not finite)
        total = left.with_state(np.where(wild, WILD, VARYING))
        bias = op.constant(_SHIFT) if op.op_type == "SkipLayerNormalization" else None
        settled = settled_by_scale(left.shape, op.constant(2), bias) if op.attrs.get("epsilon", 1e-12) else VARYING
        result = left.with_state(np.full(left.shape, WILD if wild.any() else settled))
        outputs: tuple[ChannelMap | None, ...] = (result, None, None, total)
        labels = left.labels.ravel()
        reads = [Read(index, labels, labels) for index in opened]
        for index, grown in born.items():
            reads += [Read(index, grown.ravel()), Read(index, given[index].labels.ravel())]
        return Flow(outputs[: len(op.used)], ((left.labels, right.labels),), tuple(reads), fixed=tuple(born.values()))

    def resize(self, op: Op, request: Request) -> Resize:
        result, emission = request.result, None
        for found, given in zip(request.maps[:2], request.emissions[:2], strict=True):
            # A value without channel axes holds all channels, in order.
            narrow = found is not None and found.shape != result.shape
            held = full_emission(result.shape) if narrow else given
            if held is None or (emission is not None and not np.array_equal(emission, held)):
                raise Misaligned(result.labels)
            emission = held
        assert emission is not None
        outputs = (emission,) * len(op.used)
        if is_full(emission, result.shape):
            return Resize(outputs)
        vectors = {index: vector for index in range(2, len(op.present)) if (vector := op.constant(index)) is not None}
        return Resize(outputs, {index: vector.ravel()[emission.ravel()] for index, vector in vectors.items()})


register(SkipNormalization(), "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=RUNTIME_DOMAIN)
