"""MatMul of two activations between whose channels attention is computed, one weight for each pair of them.

`Q·Kᵀ` contracts places, and a row of the result belongs to a channel of Q. `A·V` weighs all channels of V for each row.
A row may leave. The channels of K stay, since the sum that a Softmax divides by counts channels of zeros as well. Those
of V that are zero may leave: a Gather in front of the product takes the weights of the others.
"""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild
from upscale_onnx.channels.flow import Even, Flow, Maps, Misaligned, Read, Request, Resize, Role
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.rules.reduction import WORTH
from upscale_onnx.types import BoolArray, IntArray


def rows_and_others(maps: Maps) -> tuple[ChannelMap, ChannelMap] | None:
    """The maps of a left operand whose rows are channels, `(…, M, 1)`, and of a right operand, `(…, K, 1)` or
    `(…, 1, N)`. None where the operands are others."""
    left, right = maps[:2]
    if left is None or right is None or left.rank != right.rank or left.rank < 2:
        return None
    if left.merged is not None or right.merged is not None or left.shape[:-2] != right.shape[:-2]:
        return None
    fits = left.shape[-2] > 1 == left.shape[-1] and (right.shape[-2] > 1) != (right.shape[-1] > 1)
    return (left, right) if fits else None


def carried_rows(left: ChannelMap, right: ChannelMap) -> Flow:
    """The flow of a product of which each row reads all channels of the right operand that belong to its head."""
    heads = int(np.prod(left.shape[:-2]))
    rows, others = left.labels.reshape(heads, -1), right.labels.reshape(heads, -1)
    wild = is_wild(left.state) | is_wild(right.state).any((-2, -1), keepdims=True)
    content = np.where(wild, WILD, np.where(left.state == 0, 0.0, VARYING))
    zeros = _left_out(left, right).reshape(others.shape)
    reads = tuple(Read(1, other, row, foldable=zero) for row, other, zero in zip(rows, others, zeros, strict=True))
    fixed = (rows, others) if heads > 1 else (others,)
    return Flow((left.with_state(content),), (), reads, (Even((rows, others)),), fixed, role=Role.CONTRACTION)


def _left_out(left: ChannelMap, right: ChannelMap) -> BoolArray:
    """The channels of the right operand, like its map, that the product can do without.

    Where they are contracted, zeros add nothing to finite numbers. All heads lose as many. A few would save less than
    the nodes take that choose the weights of the others.
    """
    zeros: BoolArray = (right.state == 0) & ~is_wild(left.state).any((-2, -1), keepdims=True)
    worth = zeros.mean((-2, -1)).min() > WORTH and right.shape[-2] > 1
    return zeros & worth


def left_rows(left: ChannelMap, right: ChannelMap, request: Request) -> Resize:
    """The result of such a product, which has the rows that are left.

    Raises: Misaligned where the right operand lacks channels of their heads that cannot be left out.
    """
    first, second = request.emissions[:2]
    if first is None or second is None:
        raise Misaligned(left.labels, right.labels)
    height, width = left.shape[-2], right.shape[-2] * right.shape[-1]
    heads = first.reshape(-1, first.shape[-2])[:, 0] // height
    kept = second.reshape(-1, second.shape[-2] * second.shape[-1])
    if not np.array_equal(kept[:, 0] // width, heads):
        raise Misaligned(left.labels, right.labels)
    columns = kept % width
    if columns.shape[1] == width and is_full(columns[0], (width,)):
        return Resize((first,))
    return Resize((first,), computed={0: _columns(left, right, columns)})


def _columns(left: ChannelMap, right: ChannelMap, kept: IntArray) -> NewNode:
    """The left operand with the columns that are `kept`, `(heads, n)`. Raises `Misaligned` where heads that keep
    different ones are not on the axis in front."""
    rank, (heads, width) = left.rank, (len(kept), right.shape[-2])
    if (kept == kept[0]).all():
        return NewNode("Gather", (0, kept[0]), attrs={"axis": rank - 1})
    if left.shape[-3] != np.prod(left.shape[:-2]):
        raise Misaligned(right.labels)
    order = [*range(rank - 3), rank - 2, rank - 3, rank - 1]
    merged = np.asarray([*[0] * (rank - 2), heads * width], np.int64)
    rows = NewNode("Reshape", (NewNode("Transpose", (0,), attrs={"perm": order}), merged))
    index = kept + np.arange(heads, dtype=np.int64)[:, None] * width
    return NewNode("Transpose", (NewNode("Gather", (rows, index), attrs={"axis": rank - 2}),), attrs={"perm": order})
