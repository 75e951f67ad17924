"""Helpers for rules whose output has the same channels as their first input."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Emissions, Maps, Misaligned, Resize
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, IntArray


def source(maps: Maps, index: int = 0) -> ChannelMap:
    """The map of input `index`. Raises `Refused` where its rank is unknown."""
    found = maps[index]
    if found is None:
        raise Refused(Reason.UNKNOWN_SHAPE, "rank of the input is not known")
    return found


def emitted(maps: Maps, emissions: Emissions) -> tuple[ChannelMap, IntArray]:
    """The map of the first input, and its emission. Raises `Misaligned` where there is none."""
    found, emission = source(maps), emissions[0]
    if emission is None:
        raise Misaligned(found.labels)
    return found, emission


def only_first_output(op: Op) -> None:
    """Raise `Refused` where another output than the first is used."""
    if any(op.used[1:]):
        raise Refused(Reason.UNSUPPORTED_FORM, "a second output is used")


def pass_on(op: Op, maps: Maps, emissions: Emissions, vectors: Mapping[int, int] | None = None) -> Resize:
    """The resize of a node that keeps its channels. `vectors` maps inputs with per-channel constants to the
    channel axis to which their entries belong."""
    found, emission = emitted(maps, emissions)
    outputs = (emission, *[np.zeros(0, np.int64)] * (len(op.used) - 1))
    if is_full(emission, found.shape) or not vectors:
        return Resize(outputs)
    constants: dict[int, Array] = {}
    for index, axis in vectors.items():
        vector = op.constant(index)
        if vector is not None and found.shape[axis] > 1 and vector.size > 1:
            constants[index] = vector.take(emission.ravel(), 0)
    return Resize(outputs, constants)
