"""Contractions of values with channels on the contracted axis and on others: steps, capsules or heads in rows.

One weight reads all rows, so they lose the same channels, those that the weight reads of none.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild
from upscale_onnx.channels.flow import Even, Flow, Misaligned, Read
from upscale_onnx.channels.grid import axis_positions
from upscale_onnx.channels.rules.kernel import DenseKernel, nonzero
from upscale_onnx.types import Array, IntArray


def has_rows(kernel: DenseKernel, found: ChannelMap) -> bool:
    """Whether the channels that a kernel reads lie in rows that it reads alike."""
    return kernel.group == kernel.block_in == 1 < found.shape[kernel.in_axis] == kernel.channels_in


def one_row(kernel: DenseKernel, found: ChannelMap) -> ChannelMap:
    """The map of the first row, with what all rows hold alike."""
    states = _rows(found.state, kernel.in_axis)
    same = (states == states[0]).all(0) & is_constant(states[0])
    state = np.where(is_wild(states).any(0), WILD, np.where(same, states[0], VARYING))
    shape = [-1 if axis == kernel.in_axis else 1 for axis in range(found.rank)]
    return ChannelMap(_rows(found.labels, kernel.in_axis)[0].reshape(shape), state.reshape(shape), wild=found.wild)


def reading_rows(made: Flow, kernel: DenseKernel, found: ChannelMap) -> Flow:
    """The flow of a contraction that reads all rows, from that of the first one, `made`. One channel of each row stays,
    the one that most results read, as no row may be gone."""
    rows = _rows(found.labels, kernel.in_axis)
    first, *others = made.reads
    readers = nonzero(kernel.weight).sum(0) * ~is_constant(one_row(kernel, found).state.ravel())
    stays = Read(kernel.input, rows[:, readers.argmax()])
    reads = (replace(first, sources=row, axis=None) for row in rows)
    evens = (*made.evens, Even((rows,), aligned=True))
    return replace(made, reads=(*reads, *others, stays), evens=evens, fixed=(rows,))


def row_emission(kernel: DenseKernel, found: ChannelMap, emission: IntArray) -> IntArray:
    """The emission of one row, that of all. Raises `Misaligned` where rows differ, or one is gone."""
    try:
        positions = axis_positions(emission, found.shape, kernel.in_axis)
    except ValueError:
        raise Misaligned(found.labels) from None
    others = [axis for axis in range(found.rank) if axis != kernel.in_axis]
    if any(emission.shape[axis] != found.shape[axis] for axis in others):
        raise Misaligned(found.labels)
    return positions.reshape([1 if axis in others else -1 for axis in range(found.rank)])


def _rows(values: Array, axis: int) -> Array:
    return np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
