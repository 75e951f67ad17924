"""MatMul of two activations: the contractions of attention, over features or over tokens.

With heads on the batch axes, `Q·Kᵀ` contracts features: a feature may go if it goes in both operands, a head
if all its features go. `A·V` contracts tokens: it carries the features of V and the heads of both.
"""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.room import check_pattern_room
from upscale_onnx.channels.rules.channel_attention import carried_rows, left_rows, rows_and_others
from upscale_onnx.errors import Reason
from upscale_onnx.types import BoolArray, IntArray


class Attend(Rule):
    """The rule of a MatMul of A `(…, M, K)` and B `(…, K, N)`, both computed at run time."""

    data_inputs: int | None = None
    merged_axes = True

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        between = rows_and_others(maps)
        if between is not None:
            return carried_rows(*between)
        left, right = _operands(maps)
        if left.shape[-1] > 1:
            return _contract_features(left, right, fresh)
        if left.shape[-2] > 1:
            return _carry(right, left, (1, 0))
        return _carry(left, right, (0, 1))

    def resize(self, op: Op, request: Request) -> Resize:
        between = rows_and_others(request.maps)
        if between is not None:
            return left_rows(*between, request)
        left, right = _operands(request.maps)
        first, second = request.emissions
        if first is None or second is None:
            raise Misaligned(left.labels, right.labels)
        if left.shape[-1] > 1:
            return Resize((_heads(left, right, first, second),))
        if left.shape[-2] > 1:
            return Resize((_carried(left, right, first, second),))
        return Resize((_carried(right, left, second, first),))


def _carried(values: ChannelMap, weights: ChannelMap, given: IntArray, gates: IntArray) -> IntArray:
    """What is left of a product that carries the channels of `values`. given, gates: what is left of the operands.
    Raises `Misaligned` where their heads differ."""
    width = values.shape[-1] * values.shape[-2]
    heads = given.reshape(*given.shape[:-2], -1)[..., 0] // width
    shared = _is_shared(values, weights)
    if not (is_full(gates, weights.shape) if shared else np.array_equal(gates.ravel(), heads.ravel())):
        raise Misaligned(values.labels, weights.labels)
    return given


def _heads(left: ChannelMap, right: ChannelMap, first: IntArray, second: IntArray) -> IntArray:
    """The heads that are left of a contraction of features. Raises `Misaligned` where those of the operands, or their
    features, differ."""
    width = left.shape[-1]
    full, other, found = (second, first, right) if _is_shared(left, right) else (first, second, left)
    heads = full.reshape(*full.shape[:-2], -1)[..., 0] // width
    if _is_shared(left, right) or _is_shared(right, left):
        same = is_full(heads, found.shape[:-2])
    else:
        same = first.shape[:-2] == second.shape[:-2] and np.array_equal(first.ravel(), second.ravel())
    features, others = (given.reshape(-1, given.shape[-1] * given.shape[-2]) % width for given in (full, other))
    if not same or features.shape[1] != others.shape[1] or (features != others).any():
        raise Misaligned(left.labels, right.labels)
    return heads[..., None, None]


def _is_shared(found: ChannelMap, other: ChannelMap) -> bool:
    """Whether all heads of the other operand use the same channels of this one."""
    return found.shape[:-2] != other.shape[:-2] and all(size == 1 for size in found.shape[:-2])


def _operands(maps: Maps) -> tuple[ChannelMap, ChannelMap]:
    left, right = maps[0], maps[1]
    if left is None or right is None or left.rank < 2 or left.rank != right.rank:
        raise Refused(Reason.MIXED_LAYOUT, "operands of unknown or different rank")
    if sum(size > 1 for size in (left.shape[-2], left.shape[-1], right.shape[-1])) > 1:
        raise Refused(Reason.MIXED_LAYOUT, "channels on contracted and free axes at once")
    shared = [_is_shared(left, right) and _wide(left), _is_shared(right, left) and _wide(right)]
    if (left.shape[:-2] != right.shape[:-2] and not any(shared)) or left.shape[-1] != right.shape[-2]:
        raise Refused(Reason.MIXED_LAYOUT, f"channel maps of shapes {left.shape} and {right.shape} do not match")
    merged = [found.merged for found in (left, right) if found.merged is not None]
    if merged and (merged[0].axis >= left.rank - 2 or merged != [merged[0]] * (1 if any(shared) else 2)):
        raise Refused(Reason.DYNAMIC_AXIS, "channels of one operand are merged with a dynamic axis")
    return left, right


def _wide(found: ChannelMap) -> bool:
    """Whether an operand has channels within its heads."""
    return found.shape[-1] > 1 or found.shape[-2] > 1


def _contract_features(left: ChannelMap, right: ChannelMap, fresh: Fresh) -> Flow:
    # Where all heads share the features of one operand, these stay or go in all heads.
    batch, width = np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-1]
    heads = int(np.prod(batch))
    rows, columns = (*batch, 1, width), (*batch, width, 1)
    a, b = _per_row(left.labels, rows, heads), _per_row(right.labels, columns, heads)
    state_a, state_b = _per_row(left.state, rows, heads), _per_row(right.state, columns, heads)
    wild = is_wild(state_a) | is_wild(state_b)
    silent = ((state_a == 0) | (state_b == 0)) & ~wild
    targets = fresh(heads)
    content = np.where(wild.any(1), WILD, np.where(silent.all(1), 0.0, VARYING))
    pattern = _per_head(heads, width) & ~silent.ravel()
    merged = left.merged or right.merged
    out = ChannelMap(targets.reshape(*batch, 1, 1), content.reshape(*batch, 1, 1), merged=merged)
    reads = (Read(0, a.ravel(), targets, pattern), Read(1, b.ravel(), targets, pattern))
    fixed = (a, b) if heads > 1 else ()
    even = Even((targets.reshape(heads, 1), a))
    return Flow((out,), ((a, b),), reads, (even,), fixed, role=Role.CONTRACTION)


def _per_row(part: np.ndarray, shape: tuple[int, ...], heads: int) -> np.ndarray:
    return np.broadcast_to(part, shape).reshape(heads, -1)


def _carry(weights: ChannelMap, values: ChannelMap, order: tuple[int, int]) -> Flow:
    if _is_shared(values, weights):
        return _carry_shared(weights, values, order[0])
    batch = values.shape[:-2]
    heads, width = int(np.prod(batch)), values.shape[-1] * values.shape[-2]
    gates, carried = weights.labels.reshape(heads), values.labels.reshape(heads, width)
    wild = is_wild(values.state) | is_wild(weights.state)
    content = np.where(wild, WILD, np.where(values.state == 0, 0.0, VARYING))
    read = Read(order[0], gates, carried.ravel(), _per_head(heads, width).T)
    fixed = (gates, carried) if heads > 1 else ()
    even = Even((gates.reshape(heads, 1), carried))
    return Flow((values.with_state(content),), (), (read,), (even,), fixed, role=Role.CONTRACTION)


def _carry_shared(weights: ChannelMap, values: ChannelMap, index: int) -> Flow:
    """The flow where all heads have the same values: no head leaves, and each feature of the result reads all."""
    wild = is_wild(values.state) | is_wild(weights.state).any()
    content = np.where(wild, WILD, np.where(values.state == 0, 0.0, VARYING))
    read = Read(index, weights.labels.ravel(), values.labels.ravel())
    return Flow((values.with_state(content),), (), (read,), (), (weights.labels,), role=Role.CONTRACTION)


def _per_head(heads: int, width: int) -> BoolArray:
    """`(heads, heads·width)` bool: which entries belong to which head."""
    check_pattern_room(heads, heads * width)
    return np.repeat(np.eye(heads, dtype=bool), width, axis=1)
