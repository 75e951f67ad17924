"""GatherElements, ScatterElements and TensorScatter: elements move along one axis, at each index of the others for
itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Role
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.contents import constant_content
from upscale_onnx.channels.rules.elementwise import Elementwise
from upscale_onnx.errors import Reason
from upscale_onnx.types import FloatArray

_BATCH = 0
_KEEP_ZERO = ("none", "add", "mul", "max", "min")


class Elements(Elementwise):
    """The rule where data, indices and updates have all channels, on other axes than the one that indices are along.
    Channels are then what they are for an operator that works element by element."""

    def __init__(self, operands: int | None = None, indices: int = 1, axis: int = 0) -> None:
        super().__init__(operands)
        self._indices, self._default = indices, axis

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        made = super().flow(op, maps, fresh)
        out = made.outputs[0]
        assert out is not None
        axis = op.axis("axis", self._default, out.rank)
        if axis in out.axes or axis == out.rank:
            raise Refused(Reason.MIXED_LAYOUT, "works along a channel axis")
        for index in self._connected(op):
            dims = op.in_dims[index]
            if dims is None or len(dims) != out.rank or any(dims[a] != out.shape[a] for a in out.axes):
                raise Refused(Reason.MIXED_LAYOUT, "operands do not have all channels")
        return replace(made, role=Role.CARRIER)

    def _content(self, op: Op, lifted: dict[int, ChannelMap], shape: tuple[int, ...]) -> FloatArray:
        """Contents stay where nothing else is scattered among them."""
        found = [_state(op, index, lifted, shape) for index in self._connected(op) if index != self._indices]
        wild = np.logical_or.reduce([is_wild(state) for state in found])
        first = found[0]
        same = is_constant(first) & np.logical_and.reduce([state == first for state in found])
        reduction = op.attrs.get("reduction", "none")
        if len(found) > 1 and reduction != "none":
            same &= (first == 0) & (reduction in _KEEP_ZERO)
        return np.where(wild, WILD, np.where(same, first, VARYING))


def _state(op: Op, index: int, lifted: dict[int, ChannelMap], shape: tuple[int, ...]) -> FloatArray:
    if index in lifted:
        return np.broadcast_to(lifted[index].state, shape)
    known = constant_content(op.constant(index), shape)
    return np.full(shape, VARYING) if known is None else known


class Cache(Elements):
    """The rule of a cache, updates that are written into it, and where, for each index of the batch."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        made = super().flow(op, maps, fresh)
        out = made.outputs[0]
        if out is not None and _BATCH in out.axes:
            raise Refused(Reason.MIXED_LAYOUT, "channels lie on the axis of the batch")
        return made


register(Elements(), "GatherElements", since=11)
register(Elements(), "ScatterElements", since=11)
register(Cache(2, 2, -2), "TensorScatter", since=24)
