"""Inputs of a node that hold the same channels at the same places: branches of an If, or a value in each round."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from upscale_onnx.channels.carried import joined, over
from upscale_onnx.channels.channel_map import WILD, ChannelMap
from upscale_onnx.channels.flow import Fresh, Maps, Misaligned, Request
from upscale_onnx.channels.grid import full_emission, is_full, take
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.rules.contents import constant_content
from upscale_onnx.types import Array, FloatArray, IntArray

Ties = tuple[tuple[IntArray, IntArray], ...]


def common_shape(op: Op, maps: Maps, members: Sequence[int]) -> tuple[int, ...] | None:
    """The shape of a map that all these inputs fit. None where they do not: their ranks differ, or their sizes along a
    channel axis of one of them."""
    known = [found for index in members if (found := maps[index]) is not None]
    sizes = [op.in_dims[index] if (found := maps[index]) is None else found.shape for index in members]
    rank = known[0].rank if known else len(sizes[0] or ())
    if any(size is None or len(size) != rank for size in sizes):
        return None
    if any(maps[index] is None and not op.is_constant(index) for index in members):
        return None
    shape = tuple(max((found.shape[axis] for found in known), default=1) for axis in range(rank))
    for index in members:
        found, dims = maps[index], op.in_dims[index]
        for axis, size in enumerate(shape):
            if size == 1 or (found is not None and found.shape[axis] == size):
                continue
            if dims is None or len(dims) != rank or dims[axis] != size:
                return None
    return shape


def undivided(maps: Maps, members: Sequence[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Those of these inputs whose channels are not told apart, where those of a map of `shape` are, along one axis.

    They are read whole. Of what they hold, a Gather takes the channels that the others are left with.
    """
    if sum(size > 1 for size in shape) != 1:
        return ()
    return tuple(index for index in members if (found := maps[index]) is not None and not found.has_channels)


def alike(op: Op, maps: Maps, members: Sequence[int], shape: tuple[int, ...], fresh: Fresh) -> tuple[ChannelMap, Ties]:
    """The map of `shape` of what is in one of these inputs, and the ties between their classes."""
    whole = undivided(maps, members, shape)
    known = [found.labels for index in members if index not in whole and (found := maps[index]) is not None]
    first = np.broadcast_to(known[0] if known else fresh(1).reshape((1,) * len(shape)), shape)
    state = reduce(joined, [content(op, maps, index, shape) for index in members])
    return ChannelMap(first, state), tuple((first, labels) for labels in known[1:])


def content(op: Op, maps: Maps, index: int, shape: tuple[int, ...]) -> FloatArray:
    """What an input holds, for a map of `shape`."""
    found, array = maps[index], op.constant(index)
    state = constant_content(array, shape) if array is not None else None if found is None else over(found.state, shape)
    return np.full(shape, WILD) if state is None else state


def emitted(
    op: Op, request: Request, members: Sequence[int], shape: tuple[int, ...]
) -> tuple[IntArray, dict[int, Array], dict[int, NewNode]]:
    """What these inputs hold, and the constants and undivided values among them, cut to it.

    Raises: Misaligned where they hold different channels, or the same in different orders.
    """
    whole = undivided(request.maps, members, shape)
    divided = [i for i in members if i not in whole]
    given = [(found, request.emissions[i]) for i in divided if (found := request.maps[i]) is not None]
    held = next((g for found, g in given if g is not None and found.shape == shape), full_emission(shape))
    for found, emission in given:
        same = found.shape == shape and emission is not None and np.array_equal(emission, held)
        if not same and not (is_full(held, shape) and emission is not None and is_full(emission, found.shape)):
            raise Misaligned(*(found.labels for found, _ in given))
    if is_full(held, shape):
        return held, {}, {}
    cut = {i: take(array, held, shape) for i in members if (array := op.constant(i)) is not None}
    axis = int(np.argmax(shape))
    return held, cut, {i: NewNode("Gather", (i, held.ravel()), attrs={"axis": axis}) for i in whole}
