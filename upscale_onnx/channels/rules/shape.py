"""Shape nodes that read no channel: what they state is the same whatever channels are removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.rules.barrier import BARRIER
from upscale_onnx.types import Dims

_FIRST_WHERE = 9


class ShapeOf(Rule):
    """The rule of a Shape node of which only sizes of other axes than channel axes are used. states: whether sizes of
    channel axes are used, too. They are known, and stated as they were."""

    merged_axes = True

    def __init__(self, states: bool) -> None:
        self._states = states

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        return replace(BARRIER.flow(op, (None,) * len(maps), fresh), role=Role.CARRIER)

    def resize(self, op: Op, request: Request) -> Resize:
        same = BARRIER.resize(op, replace(request, maps=(), emissions=()))
        found, emission, dims = request.maps[0], request.emissions[0], op.in_dims[0]
        if not self._states or found is None or emission is None or dims is None or is_full(emission, found.shape):
            return same
        asked = asked_axes(op.attrs, found)
        stated = _unmerged(NewNode("Shape", (0,), attrs=op.attrs), asked, found, emission.shape)
        sizes = [dims[axis] if axis in found.axes else None for axis in asked]
        given = np.asarray([isinstance(size, int) for size in sizes])
        values = np.asarray([size if isinstance(size, int) else 0 for size in sizes], np.int64)
        if given.any():
            stated = NewNode("Where", (given, values, stated))
        return same if stated.op_type == "Shape" else replace(same, replace=(stated,))


def _unmerged(stated: NewNode, asked: range, found: ChannelMap, shape: tuple[int, ...]) -> NewNode:
    """What `stated` returns, with the size that a merged axis had before it lost channels."""
    axis = -1 if found.merged is None else found.merged.axis
    if axis not in asked or shape[axis] == found.shape[axis]:
        return stated
    if shape[axis] == 0:
        raise Misaligned(found.labels)  # nothing is left that tells how often there was each channel
    before, after = np.ones((2, len(asked)), np.int64)
    before[asked.index(axis)], after[asked.index(axis)] = found.shape[axis], shape[axis]
    return NewNode("Div", (NewNode("Mul", (stated, before)), after))


def asked_axes(attrs: Mapping[str, Any], found: ChannelMap) -> range:
    """The axes whose sizes a Shape node with these attributes states."""
    end = attrs.get("end")
    return range(found.rank)[int(attrs.get("start", 0)) : None if end is None else int(end)]


def can_state(opset: int, attrs: Mapping[str, Any], found: ChannelMap | None, dims: Dims | None) -> bool:
    """Whether a Shape node can state the sizes of all channel axes that it is asked for, since they are known,
    or grow with what is left."""
    if found is None or dims is None or opset < _FIRST_WHERE or found.rank != len(dims):
        return False
    merged = None if found.merged is None else found.merged.axis
    return all(axis == merged or isinstance(dims[axis], int) for axis in asked_axes(attrs, found) if axis in found.axes)


SHAPE, STATED_SHAPE = ShapeOf(states=False), ShapeOf(states=True)
