"""MatMul of two activations between whose channels attention is computed, one weight for each pair of them.

`Q·Kᵀ` contracts places, and a row of the result belongs to a channel of Q. `A·V` weighs all channels of V for each row.
A row may leave. The channels of K and V stay, since the sum that a Softmax divides by counts channels of zeros as well.
"""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild
from upscale_onnx.channels.flow import Even, Flow, Maps, Misaligned, Read, Request, Resize, Role
from upscale_onnx.channels.grid import full_emission


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
    reads = tuple(Read(1, other, row) for row, other in zip(rows, others, strict=True))
    fixed = (rows, others) if heads > 1 else (others,)
    return Flow((left.with_state(content),), (), reads, (Even((rows, others)),), fixed, role=Role.CONTRACTION)


def left_rows(left: ChannelMap, right: ChannelMap, request: Request) -> Resize:
    """The result of such a product, which has the rows that are left.

    Raises: Misaligned where the right operand lacks channels of their heads.
    """
    first, second = request.emissions[:2]
    if first is None or second is None:
        raise Misaligned(left.labels, right.labels)
    height, width = left.shape[-2], right.shape[-2] * right.shape[-1]
    heads = first.reshape(-1, first.shape[-2])[:, 0] // height
    whole = full_emission((int(np.prod(right.shape[:-2])), width))[heads]
    if not np.array_equal(second.ravel(), whole.ravel()):
        raise Misaligned(left.labels, right.labels)
    return Resize((first,))
