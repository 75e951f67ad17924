"""LpNormalization: each channel divided by the length of the vector along one axis."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, is_constant, is_wild, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Read, Rule
from upscale_onnx.channels.grid import rows_over
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.registry import register


class LpNormalization(Rule):
    """The rule of a division by the sum of absolute values or squares along `axis`. A sum of zeros may make NaN."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        axis = op.axis("axis", -1, found.rank)
        wild = is_wild(found.state)
        if axis not in found.axes:
            state = np.where(wild | is_constant(found.state), WILD, VARYING)
            return Flow((found.with_state(state),), fragile=(found.labels,))
        wild = np.broadcast_to(wild.any(axis, keepdims=True), found.shape)
        zeros = found.state == 0
        rows = zip(rows_over(found.labels, [axis]), rows_over(zeros, [axis]), strict=True)
        reads = tuple(Read(0, row, row, foldable=zero) for row, zero in rows)
        # Zeros add nothing to the length, and stay zeros unless all are.
        kept = zeros & ~zeros.all(axis, keepdims=True)
        state = np.where(wild, WILD, np.where(kept, 0.0, VARYING))
        return Flow((found.with_state(state),), reads=reads, fragile=(found.labels,))


register(LpNormalization(), "LpNormalization")
