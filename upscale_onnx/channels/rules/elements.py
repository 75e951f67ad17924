"""GatherElements, ScatterElements and TensorScatter: elements move along one axis, at each index of the others for
itself."""

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

_BATCH = 0
_KEEP_ZERO = ("none", "add", "mul", "max", "min")


class Elements(Elementwise):
    """The rule where data, indices and updates have all channels, on other axes than the one that indices are along.
    Channels are then what they are for an operator that works element by element. operands: how many there are, the
    indices at input `indices` among them."""

    def __init__(self, operands: int | None = None, indices: int = 1, axis: int = 0) -> None:
        super().__init__(operands)
        self._indices, self._default = indices, axis

    merged_axes = False

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        connected = self._connected(op)
        rank = operand_rank(op, 0)
        if any(operand_rank(op, index) != rank for index in connected):
            raise Refused(Reason.UNSUPPORTED_FORM, "operands of different rank")
        lifted = {index: known_map(maps[index], "an operand") for index in self._dynamic(op, maps)}
        shape = common_shape(list(lifted.values()), rank)
        channels = [axis for axis in range(rank) if shape[axis] > 1]
        if op.axis("axis", self._default, rank) in channels:
            raise Refused(Reason.MIXED_LAYOUT, "works along a channel axis")
        if any(operand_dims(op, index, rank)[axis] != shape[axis] for index in connected for axis in channels):
            raise Refused(Reason.MIXED_LAYOUT, "operands do not have all channels")
        state = _content(op, [index for index in connected if index != self._indices], lifted, shape)
        if not channels:
            reads = tuple(Read(index, found.labels.ravel()) for index, found in lifted.items())
            return Flow((ChannelMap(fresh(1).reshape(shape), state),), reads=reads)
        made = super().flow(op, maps, fresh)
        return replace(made, outputs=(known_map(made.outputs[0]).with_state(state),), role=Role.CARRIER)

    def resize(self, op: Op, request: Request) -> Resize:
        if not request.result.has_channels:
            return Resize((np.zeros(request.result.shape, np.int64),))
        return super().resize(op, request)


def _content(op: Op, moved: list[int], lifted: dict[int, ChannelMap], shape: tuple[int, ...]) -> FloatArray:
    """Contents stay where nothing else is scattered among them."""
    found = [_state(op, index, lifted, shape) for index in moved]
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
        if _BATCH in known_map(made.outputs[0]).axes:
            raise Refused(Reason.MIXED_LAYOUT, "channels lie on the axis of the batch")
        return made


register(Elements(), "GatherElements", since=11)
register(Elements(), "ScatterElements", since=11)
register(Cache(2, 2, -2), "TensorScatter", since=24)
