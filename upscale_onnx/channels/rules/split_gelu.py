"""onnxruntime's BiasSplitGelu: the left half of the channels times the Gelu of the right half, with a bias for both."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, is_wild, known_map, vector_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN

_BIAS = 1


class BiasSplitGelu(Rule):
    """The rule of X `(N, S, D)` and a bias `(D,)`; the result is `(N, S, D/2)`. Both halves keep the same channels."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found, bias = known_map(maps[0]), op.constant(_BIAS)
        if bias is None:
            raise Refused(Reason.DYNAMIC_PARAMETER, "the bias is computed at run time")
        if found.axes != (found.rank - 1,) or found.shape[-1] != bias.size or bias.size % 2:
            raise Refused(Reason.MIXED_LAYOUT, f"channels {found.shape} for a bias of shape {bias.shape}")
        left, right = found.labels.ravel().reshape(2, -1)
        added = bias.ravel().astype(np.float64)
        wild = (is_wild(found.state.ravel()) | ~np.isfinite(added)).reshape(2, -1).any(0)
        zero = ((found.state.ravel() == 0) & (added == 0)).reshape(2, -1).any(0)
        content = np.where(wild, WILD, np.where(zero, 0.0, VARYING))
        out = vector_map(left, content, found.rank, found.rank - 1)
        return Flow((out,), ((left, right),), role=Role.POINTWISE)

    def resize(self, op: Op, request: Request) -> Resize:
        (found, emission), bias = request.first_input(), op.constant(_BIAS)
        half = found.labels.size // 2
        flat = emission.ravel()
        left, right = flat[: flat.size // 2], flat[flat.size // 2 :]
        if not np.array_equal(left + half, right):
            raise Misaligned(found.labels)
        outputs = (left.reshape((1,) * (found.rank - 1) + (-1,)),)
        if bias is None or is_full(emission, found.shape):
            return Resize(outputs)
        return Resize(outputs, {_BIAS: bias.ravel()[flat]})


register(BiasSplitGelu(), "BiasSplitGelu", domain=RUNTIME_DOMAIN)
