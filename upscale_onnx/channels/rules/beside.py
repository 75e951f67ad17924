"""MatMul by a constant along another axis than that of the channels: layers that mix places.

Such a layer carries the channels. Where two of them follow one another, what lies between are neurons, the same for
all channels: the first makes a grid `(channels, neurons)`, the second reads it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, known_map
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role
from upscale_onnx.channels.grid import axis_positions, coordinates, full_emission
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.rules.kernel import DenseKernel, nonzero
from upscale_onnx.channels.rules.levels import contracted, known_levels, with_levels
from upscale_onnx.types import Array, BoolArray, IntArray

# A grid of more channels and neurons takes too much memory: the channels alone are followed then.
_MOST_ENTRIES = 2**20


def makes_neurons(kernel: DenseKernel, op: Op, found: ChannelMap) -> bool:
    """Whether the neurons are followed that a product makes of a value with channels on other axes."""
    return op.between and found.merged is None and found.labels.size * kernel.channels_out <= _MOST_ENTRIES


def carried_beside(kernel: DenseKernel, maps: Maps) -> Flow:
    """The flow of channels on other axes than the contracted one. Sums of zeros are zero."""
    found = known_map(maps[kernel.input], "the activation")
    wild = is_wild(found.state) | (not np.isfinite(kernel.weight).all())
    state = np.where(wild, WILD, np.where((found.state == 0) & (kernel.bias is None), 0.0, VARYING))
    made = found.with_state(state)
    if found.merged is None and kernel.bias is None:
        made = with_levels(made, contracted(known_levels(found), kernel.weight, kernel.in_axis))
    return Flow((made,), role=Role.CONTRACTION)


def neurons_beside(kernel: DenseKernel, maps: Maps, fresh: Fresh) -> Flow:
    """The flow of a product that makes neurons of a value with channels on other axes."""
    found = known_map(maps[kernel.input], "the activation")
    reading: BoolArray = np.asarray(nonzero(kernel.weight).any(1))
    finite = bool(np.isfinite(kernel.weight).all())
    zero = (found.state == 0) | ~_along(reading, found, kernel.in_axis)
    wild = is_wild(found.state) | (not finite)
    labels = fresh(zero.size).reshape(zero.shape)
    grid, channels = _rows(labels, kernel.in_axis), found.labels.reshape(-1, 1)
    silent = (found.state.reshape(-1, 1) == 0) & finite
    reads = tuple(
        Read(kernel.input, channel, row, (reading | broken)[:, None], None, quiet)
        for channel, row, quiet, broken in zip(channels, grid, silent, wild.ravel(), strict=True)
    )
    out = ChannelMap(labels, np.where(wild, WILD, np.where(zero, 0.0, VARYING)))
    out = with_levels(out, contracted(known_levels(found), kernel.weight, kernel.in_axis))
    return Flow((out,), (), reads, _even(channels, grid), (channels, grid), role=Role.CONTRACTION)


def read_beside(kernel: DenseKernel, maps: Maps, fresh: Fresh) -> Flow:
    """The flow of a product that reads neurons, and makes places of them."""
    found = known_map(maps[kernel.input], "the activation")
    reading: BoolArray = np.asarray(nonzero(kernel.weight).any(0))
    finite = bool(np.isfinite(kernel.weight).all())
    grid = _rows(found.labels, kernel.in_axis)
    silent = _rows(found.state == 0, kernel.in_axis) & finite
    wild: BoolArray = np.asarray(_rows(is_wild(found.state), kernel.in_axis).any(1) | (not finite))
    labels = fresh(len(grid))
    shape = [1 if axis == kernel.in_axis else size for axis, size in enumerate(found.shape)]
    content = np.where(wild, WILD, np.where((silent | ~reading).all(1), 0.0, VARYING))
    reads = tuple(
        Read(kernel.input, row, label, (reading | broken)[None], None, quiet)
        for row, label, quiet, broken in zip(grid, labels[:, None], silent, wild, strict=True)
    )
    out = ChannelMap(labels.reshape(shape), content.reshape(shape))
    out = with_levels(out, contracted(known_levels(found), kernel.weight, kernel.in_axis))
    channels = labels[:, None]
    return Flow((out,), (), reads, _even(channels, grid), (channels, grid), role=Role.CONTRACTION)


def with_neurons(kernel: DenseKernel, request: Request) -> tuple[DenseKernel, Resize]:
    """The kernel that makes the neurons that are kept, and what it makes.

    Raises: Misaligned where channels differ in their neurons.
    """
    found, emission = _held(kernel, request)
    out = request.result
    rows, grid = emission.ravel(), _rows(out.labels, kernel.in_axis)
    kept = [request.choose.positions(grid[row]) for row in rows]
    if any(not np.array_equal(other, kept[0]) for other in kept):
        raise Misaligned(found.labels, out.labels)
    columns = kept[0]
    whole = np.moveaxis(full_emission(out.shape), kernel.in_axis, -1).reshape(grid.shape)
    shape = [size for axis, size in enumerate(emission.shape) if axis != kernel.in_axis]
    made = np.moveaxis(whole[np.ix_(rows, columns)].reshape(*shape, columns.size), -1, kernel.in_axis)
    return replace(kernel, weight=kernel.weight[columns]), Resize((made,))


def without_neurons(kernel: DenseKernel, request: Request) -> tuple[DenseKernel, Resize]:
    """The kernel that reads the neurons that are left, and the channels that it makes.

    Raises: Misaligned where channels differ in their neurons.
    """
    found, emission = _held(kernel, request)
    try:
        columns = axis_positions(emission, found.shape, kernel.in_axis)
    except ValueError:
        raise Misaligned(found.labels) from None
    first = emission.take([0], kernel.in_axis)
    where = [*coordinates(first, found.shape)]
    where[kernel.in_axis] = np.zeros_like(first)
    made = np.ravel_multi_index(tuple(where), request.result.shape)
    return replace(kernel, weight=kernel.weight[:, columns]), Resize((np.asarray(made, np.int64),))


def _held(kernel: DenseKernel, request: Request) -> tuple[ChannelMap, IntArray]:
    found, emission = known_map(request.maps[kernel.input]), request.emissions[kernel.input]
    if emission is None:
        raise Misaligned(found.labels)
    return found, emission


def _even(channels: IntArray, grid: IntArray) -> tuple[Even]:
    """A channel goes with its row of the grid; all rows keep the same neurons."""
    return (Even((np.hstack((channels, grid)),), aligned=True),)


def _rows(values: Array, axis: int) -> Array:
    """The grid `(channels, neurons)` of a map with neurons on `axis`."""
    return np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])


def _along(vector: BoolArray, found: ChannelMap, axis: int) -> BoolArray:
    """A vector that lies along `axis`, once for each channel of a map without entries there."""
    shape = [vector.size if other == axis else size for other, size in enumerate(found.shape)]
    return np.broadcast_to(vector.reshape([-1 if other == axis else 1 for other in range(found.rank)]), shape)
