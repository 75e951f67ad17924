"""Reshape, Flatten, Squeeze and Unsqueeze: the map is reshaped like the value.

A Reshape is cut into groups of axes with equal products. In groups with channels the map gets the full
sizes and is reshaped; axes along which the classes do not change then get size 1. Flattening `(C, 7, 7)`
repeats each class 49 times; splitting `(g·c)` into `(g, c)` gives a grid that must stay rectangular.
"""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import collapse, known_map
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Request, Resize, Rule
from upscale_onnx.channels.grid import full_emission, is_full, rectangle, written_out
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.room import check_room
from upscale_onnx.channels.rules.layout import layout, new_shape, written_out_sizes
from upscale_onnx.channels.rules.merged_axes import closed, joined_shape, opened, split_shape
from upscale_onnx.types import IntArray


class Reshape(Rule):
    """The rule of operators that give a value another shape and keep its elements in row-major order."""

    merged_axes = True

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        axes = layout(op, known_map(maps[0]))
        found = opened(known_map(maps[0]))
        sizes_in, sizes_out = written_out_sizes(found, axes)
        check_room(*sizes_in)
        labels = np.broadcast_to(found.labels, sizes_in).reshape(sizes_out)
        state = np.broadcast_to(found.state, sizes_in).reshape(sizes_out)
        out = closed(collapse(labels, state), axes.merged)
        if len(out.axes) <= 1:
            return Flow((out,))
        grid = out.labels.reshape([out.shape[axis] for axis in out.axes])
        return Flow((out,), evens=(Even((grid,)),), fixed=(grid,))

    def resize(self, op: Op, request: Request) -> Resize:
        (given_map, emission), result = request.first_input(), request.result
        axes, found = layout(op, given_map), opened(given_map)
        if is_full(emission, given_map.shape):
            return Resize((full_emission(result.shape),))
        sizes_in, sizes_out = written_out_sizes(found, axes)
        emission = emission.reshape(split_shape(emission.shape, axes.times_in))
        content = written_out(emission, found.shape, sizes_in)
        where = np.unravel_index(content.ravel(), sizes_out)
        shape = rectangle(where, sizes_out)
        if shape is None:
            raise Misaligned(found.labels)
        index = [np.asarray(c).reshape(shape) for c in where]
        sizes = split_shape(result.shape, axes.times_out)
        for axis, size in enumerate(sizes):
            # An axis without channels must keep all its indices, in order.
            if size == 1 and not _spans(index[axis], axis, sizes_out[axis]):
                raise Misaligned(found.labels)
            if size == 1:
                index = [c.take([0], axis) for c in index]
        index = [np.zeros_like(c) if sizes[a] == 1 else c for a, c in enumerate(index)]
        given = np.asarray(np.ravel_multi_index(tuple(index), sizes), np.int64)
        given = given.reshape(joined_shape(given.shape, axes.times_out))
        if op.op_type == "Squeeze":
            return _with_axes(op, given)
        if op.op_type != "Reshape":
            return Resize((given,))
        copies = {"allowzero": 0} if op.attrs.get("allowzero", 0) else {}
        entries = new_shape(op, axes, found, shape)
        if isinstance(entries, NewNode):
            return Resize((given,), computed={} if entries.op_type == "Identity" else {1: entries})
        return Resize((given,), {1: entries}, copies)


def _with_axes(op: Op, given: IntArray) -> Resize:
    """The resize with the axes of a Squeeze made explicit. Without axes it would also remove a channel axis of which
    one channel is left."""
    dims = op.in_dims[0]
    if op.has(1) or op.attrs.get("axes") or dims is None:
        return Resize((given,))
    axes = [axis for axis, dim in enumerate(dims) if dim == 1]
    if op.opset < 13:
        return Resize((given,), attrs={"axes": axes})
    return Resize((given,), {1: np.asarray(axes, np.int64)})


def _spans(coordinate: IntArray, axis: int, size: int) -> bool:
    """Whether the coordinate runs over 0 … size-1 along its axis at all indices of the other axes."""
    if coordinate.shape[axis] != size:
        return False
    ruler = np.arange(size).reshape([-1 if a == axis else 1 for a in range(coordinate.ndim)])
    return bool((coordinate == ruler).all())


register(Reshape(), "Reshape", since=5)
register(Reshape(), "Flatten", "Squeeze", "Unsqueeze")
