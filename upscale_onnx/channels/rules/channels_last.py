"""onnxruntime's operators with channels on the last axis: rules of standard ones, on maps with axes in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Read, Request, Resize, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.conv import Conv
from upscale_onnx.channels.rules.fused_contraction import Fused
from upscale_onnx.channels.rules.integer import QLINEAR_CONV, Integer
from upscale_onnx.channels.rules.qlinear import Quantised
from upscale_onnx.channels.rules.spatial import Pooling
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_layouts import CHANNELS_LAST
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Dims


class ChannelsLast(Rule):
    """The rule of a node that computes as one of the operator `like` does, which `inner` is the rule of.

    data: the inputs that have channels on their last axis. always: whether they have so in any node, or where an
    attribute says so.
    """

    data_inputs: int | None = None

    def __init__(self, inner: Rule, like: str, data: Sequence[int] = (0,), always: bool = True) -> None:
        self._inner, self._like, self._data, self._always = inner, like, data, always

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        if not self._is_last(op):
            return self._inner.flow(op, maps, fresh)
        made = self._inner.flow(self._alike(op), self._first(maps), fresh)
        reads = tuple(_last_read(op, read) for read in made.reads)
        return replace(made, outputs=tuple(_moved(found, 1, -1) for found in made.outputs), reads=reads)

    def resize(self, op: Op, request: Request) -> Resize:
        if not self._is_last(op):
            return self._inner.resize(op, request)
        emissions = tuple(
            np.moveaxis(given, -1, 1) if given is not None and index in self._data else given
            for index, given in enumerate(request.emissions)
        )
        out = tuple(_moved(found, -1, 1) for found in request.out)
        inner = replace(request, maps=self._first(request.maps), emissions=emissions, out=out)
        made = self._inner.resize(self._alike(op), inner)
        return replace(made, outputs=tuple(np.moveaxis(emission, 1, -1) for emission in made.outputs))

    def _is_last(self, op: Op) -> bool:
        return self._always or bool(op.attrs.get(CHANNELS_LAST, 0))

    def _alike(self, op: Op) -> Op:
        """The node with its axes in the standard order."""
        given = tuple(_first_dims(dims) if index in self._data else dims for index, dims in enumerate(op.in_dims))
        return replace(op, op_type=self._like, in_dims=given, out_dims=tuple(map(_first_dims, op.out_dims)))

    def _first(self, maps: Maps) -> Maps:
        """The maps with axes in the standard order. Raises `Refused` for channels on several axes, whose positions
        would change."""
        found = [known for index in self._data if index < len(maps) and (known := maps[index]) is not None]
        if any(len(known.axes) > 1 or known.merged is not None for known in found):
            raise Refused(Reason.MIXED_LAYOUT, "channels lie beside the last axis")
        return tuple(_moved(known, -1, 1) if index in self._data else known for index, known in enumerate(maps))


def _moved(found: ChannelMap | None, source: int, target: int) -> ChannelMap | None:
    """The map with one axis in another place."""
    if found is None or found.rank < 2:
        return found
    labels, state = np.moveaxis(found.labels, source, target), np.moveaxis(found.state, source, target)
    at_point = None if found.at_point is None else np.moveaxis(found.at_point, source, target)
    return ChannelMap(labels, state, at_point, found.point, found.wild)


def _last_read(op: Op, read: Read) -> Read:
    """The read along the last axis in place of axis 1."""
    rank = op.in_rank(read.input)
    return read if read.axis is None or rank is None else replace(read, axis=rank - 1)


def _first_dims(dims: Dims | None) -> Dims | None:
    return dims if dims is None or len(dims) < 2 else (dims[0], dims[-1], *dims[1:-1])


register(ChannelsLast(Conv(), "Conv"), "NhwcConv", domain=RUNTIME_DOMAIN)
register(ChannelsLast(Fused(Conv()), "FusedConv", (0, 3)), "NhwcFusedConv", domain=RUNTIME_DOMAIN)
register(ChannelsLast(Pooling(), "MaxPool"), "NhwcMaxPool", domain=RUNTIME_DOMAIN)
register(ChannelsLast(Integer(QLINEAR_CONV), "QLinearConv", always=False), "QLinearConv", domain=RUNTIME_DOMAIN)
for _like in ("AveragePool", "GlobalAveragePool"):
    _name = f"QLinear{_like}"
    register(ChannelsLast(Quantised(_like, 1, 4), _name, always=False), _name, domain=RUNTIME_DOMAIN)
