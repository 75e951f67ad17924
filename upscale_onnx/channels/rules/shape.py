"""Shape nodes that read no channel: what they state is the same whatever channels are removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Role, Rule
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
        whole = found is None or emission is None or is_full(emission, found.shape)
        if not self._states or found is None or dims is None or whole:
            return same
        sizes = [dims[axis] if axis in found.axes else None for axis in asked_axes(op.attrs, found)]
        given = np.asarray([size is not None for size in sizes])
        values = np.asarray([size if isinstance(size, int) else 0 for size in sizes], np.int64)
        if not given.any():
            return same
        node = NewNode("Where", (given, values, NewNode("Shape", (0,), attrs=op.attrs)))
        return replace(same, replace=(node,))


def asked_axes(attrs: Mapping[str, Any], found: ChannelMap) -> range:
    """The axes whose sizes a Shape node with these attributes states."""
    end = attrs.get("end")
    return range(found.rank)[int(attrs.get("start", 0)) : None if end is None else int(end)]


def can_state(opset: int, attrs: Mapping[str, Any], found: ChannelMap | None, dims: Dims | None) -> bool:
    """Whether a Shape node can state the sizes of all channel axes that it is asked for, since they are known."""
    if found is None or dims is None or opset < _FIRST_WHERE or found.rank != len(dims):
        return False
    return all(isinstance(dims[axis], int) for axis in asked_axes(attrs, found) if axis in found.axes)


SHAPE, STATED_SHAPE = ShapeOf(states=False), ShapeOf(states=True)
