"""MatMul of two activations: the contractions of attention, over features or over tokens.

With heads on the batch axes, `Q·Kᵀ` contracts features: a feature may go if it goes in both operands, a head
if all its features go. `A·V` contracts tokens: it carries the features of V and the heads of both.
"""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.room import check_pattern_room
from upscale_onnx.errors import Reason
from upscale_onnx.types import BoolArray


class Attend(Rule):
    """The rule of a MatMul of A `(…, M, K)` and B `(…, K, N)`, both computed at run time."""

    data_inputs: int | None = None
    merged_axes = True

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        left, right = _operands(maps)
        if left.shape[-1] > 1:
            return _contract_features(left, right, fresh)
        if left.shape[-2] > 1:
            return _carry(right, left, (1, 0))
        return _carry(left, right, (0, 1))

    def resize(self, op: Op, request: Request) -> Resize:
        left, right = _operands(request.maps)
        first, second = request.emissions
        if first is None or second is None:
            raise Misaligned(left.labels, right.labels)
        if left.shape[-1] > 1:
            width = left.shape[-1]
            if not np.array_equal(first.ravel(), second.ravel()) or first.shape[:-2] != second.shape[:-2]:
                raise Misaligned(left.labels, right.labels)
            heads = first.reshape(*first.shape[:-2], -1)[..., 0] // width
            return Resize((heads[..., None, None],))
        weights, values, shape = (second, first, left) if left.shape[-2] > 1 else (first, second, right)
        width = shape.shape[-1] * shape.shape[-2]
        heads = values.reshape(*values.shape[:-2], -1)[..., 0] // width
        if not np.array_equal(weights.ravel(), heads.ravel()):
            raise Misaligned(left.labels, right.labels)
        return Resize((values,))


def _operands(maps: Maps) -> tuple[ChannelMap, ChannelMap]:
    left, right = maps[0], maps[1]
    if left is None or right is None or left.rank < 2 or left.rank != right.rank:
        raise Refused(Reason.MIXED_LAYOUT, "operands of unknown or different rank")
    if left.shape[:-2] != right.shape[:-2] or left.shape[-1] != right.shape[-2]:
        raise Refused(Reason.MIXED_LAYOUT, f"channel maps of shapes {left.shape} and {right.shape} do not match")
    if left.merged != right.merged or (left.merged is not None and left.merged.axis >= left.rank - 2):
        raise Refused(Reason.DYNAMIC_AXIS, "channels of one operand are merged with a dynamic axis")
    if sum(size > 1 for size in (left.shape[-2], left.shape[-1], right.shape[-1])) > 1:
        raise Refused(Reason.MIXED_LAYOUT, "channels on contracted and free axes at once")
    return left, right


def _contract_features(left: ChannelMap, right: ChannelMap, fresh: Fresh) -> Flow:
    batch, width = left.shape[:-2], left.shape[-1]
    heads = int(np.prod(batch))
    a, b = left.labels.reshape(heads, width), right.labels.reshape(heads, width)
    state_a, state_b = left.state.reshape(heads, width), right.state.reshape(heads, width)
    wild = is_wild(state_a) | is_wild(state_b)
    silent = ((state_a == 0) | (state_b == 0)) & ~wild
    targets = fresh(heads)
    content = np.where(wild.any(1), WILD, np.where(silent.all(1), 0.0, VARYING))
    pattern = _per_head(heads, width) & ~silent.ravel()
    out = ChannelMap(targets.reshape(*batch, 1, 1), content.reshape(*batch, 1, 1), merged=left.merged)
    reads = (Read(0, a.ravel(), targets, pattern), Read(1, b.ravel(), targets, pattern))
    fixed = (a, b) if heads > 1 else ()
    even = Even((targets.reshape(heads, 1), a))
    return Flow((out,), ((a, b),), reads, (even,), fixed, role=Role.CONTRACTION)


def _carry(weights: ChannelMap, values: ChannelMap, order: tuple[int, int]) -> Flow:
    batch = values.shape[:-2]
    heads, width = int(np.prod(batch)), values.shape[-1] * values.shape[-2]
    gates, carried = weights.labels.reshape(heads), values.labels.reshape(heads, width)
    wild = is_wild(values.state) | is_wild(weights.state)
    content = np.where(wild, WILD, np.where(values.state == 0, 0.0, VARYING))
    read = Read(order[0], gates, carried.ravel(), _per_head(heads, width).T)
    fixed = (gates, carried) if heads > 1 else ()
    out = values.with_state(content)
    even = Even((gates.reshape(heads, 1), carried))
    return Flow((out,), (), (read,), (even,), fixed, role=Role.CONTRACTION)


def _per_head(heads: int, width: int) -> BoolArray:
    """`(heads, heads·width)` bool: which entries belong to which head."""
    check_pattern_room(heads, heads * width)
    return np.repeat(np.eye(heads, dtype=bool), width, axis=1)
