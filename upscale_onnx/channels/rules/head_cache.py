"""Keys and values of former steps, `(batch, groups, length, features)`, which an attention operator appends to."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild
from upscale_onnx.channels.flow import Maps, Misaligned, Request
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.rules.head_layout import Grid, Held, Layout, Size, grids, held
from upscale_onnx.types import Array, FloatArray, IntArray


def appended(op: Op, maps: Maps, index: int, new: Grid) -> tuple[Grid, tuple[tuple[IntArray, IntArray], ...]]:
    """All keys or values: those of former steps at input `index`, and `new` ones; and which classes are one."""
    constant, found = op.constant(index), maps[index] if index < len(maps) else None
    if constant is not None and constant.size:
        return Grid(new.labels, _together(new.state, _constant_state(constant, new.state))), ()
    if constant is not None or found is None:
        return new, ()
    former = grids(found, Layout.APART, [_size(new)])[0]
    return Grid(new.labels, _together(new.state, former.state)), ((new.labels, former.labels),)


def narrowed(op: Op, request: Request, index: int, new: Held, size: Size) -> Array | None:
    """The constant of former steps cut as the new ones are; None where there is none. Raises `Misaligned` where former
    steps that are computed hold others than the new ones."""
    constant = op.constant(index)
    if constant is not None:
        parts = [constant[:, head][..., row] for head, row in zip(new.heads, new.features, strict=True)]
        return None if new.size == size else np.stack(parts, 1)
    found = request.maps[index] if index < len(request.maps) else None
    if found is None:
        return None
    emission = request.emissions[index]
    former = None if emission is None else held(found, emission, Layout.APART, [size])[0]
    if former is None or not np.array_equal(former.flat(size[1]), new.flat(size[1])):
        raise Misaligned(found.labels)
    return None


def present(found: Grid, state: FloatArray | None = None) -> ChannelMap:
    """The map of all keys or values, of contents `state` if they are others."""
    shape = (1, found.labels.shape[0], 1, found.labels.shape[1])
    return ChannelMap(found.labels.reshape(shape), (found.state if state is None else state).reshape(shape))


def emission(new: Held, size: Size) -> IntArray:
    """The emission of all keys or values."""
    return new.flat(size[1]).reshape(1, new.size[0], 1, new.size[1])


def _size(grid: Grid) -> Size:
    return grid.labels.shape[0], grid.labels.shape[1]


def _together(left: FloatArray, right: FloatArray) -> FloatArray:
    wild = is_wild(left) | is_wild(right)
    return np.where(wild, WILD, np.where((left == 0) & (right == 0), 0.0, VARYING))


def _constant_state(constant: Array, like: FloatArray) -> FloatArray:
    finite, zero = np.isfinite(constant).all((0, 2)), (constant == 0).all((0, 2))
    return np.broadcast_to(np.where(finite, np.where(zero, 0.0, VARYING), WILD), like.shape)
