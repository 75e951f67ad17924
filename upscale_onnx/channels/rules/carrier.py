"""Helpers for rules that look at the map of their first input."""

from __future__ import annotations

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Maps
from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason


def source(maps: Maps, index: int = 0) -> ChannelMap:
    """The map of input `index`. Raises `Refused` where its rank is unknown."""
    found = maps[index]
    if found is None:
        raise Refused(Reason.UNKNOWN_SHAPE, "rank of the input is not known")
    return found
