"""The blocks in which what is left of a grouped contraction is computed: which channels each reads and creates.

Channels of one group may come together with those of another, and channels of which nothing is read may stand in any
block: the weights between them are zeros. So whatever channels stay, in whatever order, there are blocks that compute
them; in the worst case one block, which is a contraction without groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from upscale_onnx.channels.channel_map import is_wild
from upscale_onnx.channels.rules.kernel import DenseKernel, foldable, nonzero
from upscale_onnx.types import BoolArray, FloatArray, IntArray

# The input and the output channels of a block.
Block = tuple[IntArray, IntArray]


def blocks_of(
    kernel: DenseKernel,
    index_in: IntArray,
    index_out: IntArray,
    state: FloatArray,
    live: BoolArray,
    count: int | None = None,
) -> tuple[Block, ...]:
    """The blocks of consecutive channels that compute the outputs `index_out` from the inputs `index_in`.

    state: the contents of all inputs. live: per output, whether it is demanded. count: how many blocks of one size are
    asked for. Where these do not compute the same: the smallest blocks if they have one size, else the groups.
    """
    if kernel.group == 1:
        return ((index_in, index_out),)
    same = _same_group(kernel, index_in, index_out)
    reads = same & _reads(kernel, index_in, index_out, state) & live[index_out][:, None]
    if count is not None and _fits(reads, count):
        return tuple(zip(np.split(index_in, count), np.split(index_out, count), strict=True))
    smallest = _consecutive(reads, index_in, index_out)
    return smallest if are_even(smallest) else _consecutive(same, index_in, index_out)


def are_even(blocks: tuple[Block, ...]) -> bool:
    """Whether all blocks have the same size, so that one node computes them."""
    return len({_size(block) for block in blocks}) == 1


def runs(blocks: tuple[Block, ...]) -> Iterator[tuple[Block, ...]]:
    """The blocks, with those that follow one another and have the same size together."""
    for _, run in groupby(blocks, _size):
        yield tuple(run)


def _size(block: Block) -> tuple[int, int]:
    return block[0].size, block[1].size


def _same_group(kernel: DenseKernel, index_in: IntArray, index_out: IntArray) -> BoolArray:
    per_in, per_out = kernel.channels_in // kernel.group, kernel.channels_out // kernel.group
    same: BoolArray = (index_out // per_out)[:, None] == (index_in // per_in)[None, :]
    return same


def _reads(kernel: DenseKernel, index_in: IntArray, index_out: IntArray, state: FloatArray) -> BoolArray:
    """`(outputs, inputs)`: which output is computed from which input, if both are of one group."""
    per_in = kernel.channels_in // kernel.group
    # Zero times infinity is not zero: a channel that may be infinite is read by every row.
    reads: BoolArray = nonzero(kernel.weight)[index_out][:, index_in % per_in] | is_wild(state)[index_in]
    return reads & ~foldable(kernel, state)[index_in]


def _fits(reads: BoolArray, count: int) -> bool:
    """Whether `count` blocks of one size hold everything that is read."""
    outputs, inputs = reads.shape
    if count < 1 or outputs % count or inputs % count:
        return False
    home_out, home_in = (np.arange(size) * count // size for size in (outputs, inputs))
    return not (reads & (home_out[:, None] != home_in[None, :])).any()


def _consecutive(reads: BoolArray, index_in: IntArray, index_out: IntArray) -> tuple[Block, ...]:
    """The smallest blocks of consecutive channels, each with an input and an output."""
    outputs, inputs = reads.shape
    some = reads.any(1)
    first = np.where(some, reads.argmax(1), inputs)
    last = np.where(some, inputs - 1 - reads[:, ::-1].argmax(1), -1)
    before, behind = np.maximum.accumulate(last), np.minimum.accumulate(first[::-1])[::-1]
    rows, columns = [0], [0]
    for row in range(1, outputs):
        column = max(int(before[row - 1]), columns[-1]) + 1
        if column <= behind[row] and column < inputs:
            rows.append(row)
            columns.append(column)
    return tuple(zip(np.split(index_in, columns[1:]), np.split(index_out, rows[1:]), strict=True))
