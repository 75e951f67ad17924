"""What channels hold that is the same for all inputs, but not at all places.

A layer that mixes tokens adds its bias, a number for each token, to a channel of zeros; so does an embedding of places.
Such a channel is no number, but it is known. A normalisation over channels, or a mean, can count it without reading it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild
from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.channels.op import Op
from upscale_onnx.types import Array, BoolArray, FloatArray, IntArray

# Values of more entries are not followed.
_MOST_ENTRIES = 1 << 20


def known_levels(found: ChannelMap) -> FloatArray | None:
    """What channels hold at each place, to be broadcast to the value; NaN where they vary. None if all of them do."""
    if found.levels is not None:
        return found.levels
    constant = is_constant(found.state)
    return np.where(constant, found.state, np.nan) if constant.any() else None


def is_level(found: ChannelMap) -> BoolArray:
    """Which channels are known at all places, `(…)` like the map."""
    levels = known_levels(found)
    return np.zeros(found.shape, bool) if levels is None else _at_all_places(levels, found).copy()


def common_level(found: ChannelMap) -> tuple[FloatArray, BoolArray]:
    """The levels of the first channel of which they are known, and the channels that have the same."""
    levels, known = known_levels(found), is_level(found)
    assert levels is not None
    level = np.broadcast_to(levels, np.broadcast_shapes(levels.shape, found.shape))
    for axis, index in zip(found.axes, np.argwhere(known)[0][list(found.axes)], strict=True):
        level = level.take([index], axis)
    return level, known & (levels == level).all(_places(levels, found), keepdims=True)


def of_constant(constant: Array, label: IntArray) -> ChannelMap:
    """The map of a value that holds a constant again and again. It has no channel axes: it is not known which of its
    axes its readers take for that of the channels. label: its class."""
    ones = (1,) * constant.ndim
    finite = bool(np.isfinite(constant).all())
    levels = constant.astype(np.float64) if finite and constant.size <= _MOST_ENTRIES else None
    return ChannelMap(label.reshape(ones), np.full(ones, VARYING if finite else WILD), levels=levels)


def with_levels(found: ChannelMap, levels: FloatArray | None) -> ChannelMap:
    """The map with these levels, as far as they are known at all places, and more than its contents say. Of a level
    that is the same at all places, the number is the content."""
    if levels is None:
        return found
    known = _at_all_places(levels, found) & ~is_wild(found.state)
    news = known & ~is_constant(found.state)
    if not news.any():
        return found
    places = _places(levels, found)
    first, last = levels.min(places, keepdims=True), levels.max(places, keepdims=True)
    state = np.where(news & (first == last), first, found.state)
    if is_constant(state[news]).all():
        return replace(found, state=state)
    return replace(found, state=state, levels=np.where(known, levels, np.nan))


def pointwise_levels(
    op: Op, operands: Mapping[int, ChannelMap], connected: Sequence[int], rank: int
) -> FloatArray | None:
    """The levels of an elementwise result of this rank; None where its contents say as much. operands: the maps of the
    inputs computed at run time, of this rank. connected: the indices of all operands."""
    aligned: dict[int, Array] = {}
    for index in connected:
        constant = op.constant(index)
        value = known_levels(operands[index]) if constant is None else constant
        if value is None or value.ndim > rank or value.dtype.kind != "f":
            return None
        aligned[index] = value.reshape((1,) * (rank - value.ndim) + value.shape)
    shape = np.broadcast_shapes(*(value.shape for value in aligned.values()))
    wide = np.broadcast_shapes(*(found.shape for found in operands.values()))
    if shape == wide or math.prod(shape) > _MOST_ENTRIES:
        return None
    known = np.logical_and.reduce([np.broadcast_to(np.isfinite(value), shape) for value in aligned.values()])
    if not known.any():
        return None
    inputs = [
        op.constant(index) if index not in aligned else np.nan_to_num(aligned[index]).astype(op.dtype(index))
        for index in range(len(op.present))
    ]
    values = evaluate(op.op_type, op.opset, op.attrs, inputs, domain=op.domain)
    if values is None or values[0].shape != shape or values[0].dtype.kind != "f":
        return None
    return np.where(known & np.isfinite(values[0]), values[0].astype(np.float64), np.nan)


def contracted(levels: FloatArray | None, weight: Array, axis: int) -> FloatArray | None:
    """The levels of a product by `weight`, `(out, in)`, along an axis without channels."""
    if levels is None or levels.size // levels.shape[axis] * max(weight.shape) > _MOST_ENTRIES:
        return None
    if not np.isfinite(weight).all():
        return None
    moved = np.moveaxis(levels, axis, -1)
    moved = np.broadcast_to(moved, (*moved.shape[:-1], weight.shape[1]))
    made: FloatArray = np.moveaxis(moved @ weight.T.astype(np.float64), -1, axis)
    return made


def _at_all_places(levels: FloatArray, found: ChannelMap) -> BoolArray:
    known: BoolArray = np.asarray(np.isfinite(levels).all(_places(levels, found), keepdims=True))
    return np.broadcast_to(known, found.shape)


def _places(levels: FloatArray, found: ChannelMap) -> tuple[int, ...]:
    return tuple(axis for axis, size in enumerate(found.shape) if size == 1 and levels.shape[axis] > 1)
