"""GatherElements and ScatterElements: each index of the other axes has indices of its own along one axis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Read, Request, Resize, Role
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.broadcast import common_shape, operand_dims, operand_rank
from upscale_onnx.channels.rules.contents import constant_content
from upscale_onnx.channels.rules.elementwise import Elementwise
from upscale_onnx.errors import Reason
from upscale_onnx.types import FloatArray

_UPDATES = 2
_KEEP_ZERO = ("none", "add", "mul", "max", "min")


class Elements(Elementwise):
    """The rule where data, indices and updates have all channels, on other axes than the one that indices are along.
    Channels are then what they are for an operator that works element by element."""

    merged_axes = False

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        connected = self._connected(op)
        rank = operand_rank(op, 0)
        if any(operand_rank(op, index) != rank for index in connected):
            raise Refused(Reason.UNSUPPORTED_FORM, "operands of different rank")
        lifted = {index: known_map(maps[index], "an operand") for index in self._dynamic(op, maps)}
        shape = common_shape(list(lifted.values()), rank)
        channels = [axis for axis in range(rank) if shape[axis] > 1]
        if op.axis("axis", 0, rank) in channels:
            raise Refused(Reason.MIXED_LAYOUT, "works along a channel axis")
        if any(operand_dims(op, index, rank)[axis] != shape[axis] for index in connected for axis in channels):
            raise Refused(Reason.MIXED_LAYOUT, "operands do not have all channels")
        state = _content(op, connected, lifted, shape)
        if not channels:
            reads = tuple(Read(index, found.labels.ravel()) for index, found in lifted.items())
            return Flow((ChannelMap(fresh(1).reshape(shape), state),), reads=reads)
        made = super().flow(op, maps, fresh)
        return replace(made, outputs=(known_map(made.outputs[0]).with_state(state),), role=Role.CARRIER)

    def resize(self, op: Op, request: Request) -> Resize:
        if not request.result.axes:
            return Resize((np.zeros(request.result.shape, np.int64),))
        return super().resize(op, request)


def _content(op: Op, connected: list[int], lifted: dict[int, ChannelMap], shape: tuple[int, ...]) -> FloatArray:
    """Contents stay where nothing else is scattered among them."""
    found = [_state(op, index, lifted, shape) for index in connected if index != 1]
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


register(Elements(), "GatherElements", since=11)
register(Elements(), "ScatterElements", since=11)
