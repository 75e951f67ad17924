"""BatchNormalization and InstanceNormalization carry channels; GroupNormalization reads all the channels of a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, known_map
from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import axis_positions, is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, BoolArray, FloatArray, IntArray

_FIRST_OF_CHANNELS = 21  # the first version of GroupNormalization with a scale for each channel


def _constant_vectors(op: Op, count: int) -> list[np.ndarray]:
    vectors = [op.constant(index) for index in range(1, 1 + count)]
    if any(vector is None for vector in vectors):
        raise Refused(Reason.DYNAMIC_PARAMETER, "statistics or affine parameters are computed at run time")
    return [vector for vector in vectors if vector is not None]


def _cut_vectors(op: Op, count: int, positions: IntArray) -> dict[int, Array]:
    return {index: vector[positions] for index, vector in enumerate(_constant_vectors(op, count), 1)}


class BatchNormalization(Rule):
    """scale, B, mean, var: `(C,)`. A channel with a zero scale is constant."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        vectors = _constant_vectors(op, 4)
        if op.attrs.get("training_mode", 0) or not op.attrs.get("spatial", 1) or found.rank < 2:
            raise Refused(Reason.UNSUPPORTED_FORM, "training mode or input without a channel axis")
        channels = vectors[0].size
        if any(axis != 1 for axis in found.axes):
            raise Refused(Reason.MIXED_LAYOUT, "channels lie beside axis 1")
        if found.shape[1] not in (1, channels) or any(vector.size != channels for vector in vectors):
            raise Refused(Reason.MIXED_LAYOUT, "parameters and channels differ in number")
        _, state = found.along(1, channels)
        fixed = is_constant(state) | (vectors[0] == 0)
        epsilon = op.attrs.get("epsilon", 1e-5)
        if not fixed.any() and _stays_finite(vectors, epsilon, op.dtype(0)):
            return _varying(op, found, is_wild(state))
        inputs = np.where(is_constant(state), state, 0.0)[None, :].astype(op.dtype(0))
        # Older versions compute the same at inference, but onnx's reference evaluator computes them wrongly.
        values = evaluate(op.op_type, max(op.opset, 15), {"epsilon": epsilon}, [inputs, *vectors])
        if values is None:
            return _pointwise(op, found, np.full(found.shape, WILD))
        computed = values[0].ravel().astype(np.float64)
        finite = np.logical_and.reduce([np.isfinite(vector) for vector in (computed, *vectors)])
        wild = is_wild(state) | ~finite
        if found.shape[1] == 1:
            return _varying(op, found, wild)
        content = np.where(wild, WILD, np.where(fixed, computed, VARYING))
        return _pointwise(op, found, content.reshape(found.shape))

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        if found.shape[1] == 1 or is_full(emission, found.shape):
            return Resize((emission,))
        return Resize((emission,), _cut_vectors(op, 4, emission.ravel()))


def _stays_finite(vectors: Sequence[Array], epsilon: float, dtype: np.dtype[Any]) -> bool:
    """Whether scale, B, mean and var are so small that a channel of zeros overflows nowhere. If none is constant, this
    is all that has to be known of the numbers, so that they need not be computed."""
    if dtype not in (np.float32, np.float64) or any(vector.dtype != dtype for vector in vectors):
        return False
    # The largest intermediate result is a product of two of them, divided by the root of the variance.
    limit = float(np.finfo(dtype).max) ** 0.25
    small = all((np.abs(vector) < limit).all() for vector in vectors)
    return small and bool((vectors[3] + epsilon > 1 / limit).all())


def _varying(op: Op, found: ChannelMap, wild: BoolArray) -> Flow:
    """The flow in which all channels vary, or are `wild`; all are where they cannot be told apart."""
    known = wild.reshape(found.shape) if found.shape[1] > 1 else np.full(found.shape, wild.any())
    return _pointwise(op, found, np.where(known, WILD, VARYING))


def _pointwise(op: Op, found: ChannelMap, state: FloatArray) -> Flow:
    return Flow((found.with_state(state),), role=Role.POINTWISE)


class InstanceNormalization(Rule):
    """scale, B: `(C,)`. With channels behind axis 1 (a reshaped GroupNorm), groups are normalised and go whole."""

    merged_axes = True

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        scale, bias = _constant_vectors(op, 2)
        if found.rank < 3:
            raise Refused(Reason.UNSUPPORTED_FORM, "input without spatial axes")
        merged_with_groups = found.merged is not None and found.merged.axis == 1
        if 0 in found.axes or merged_with_groups or found.shape[1] not in (1, scale.size):
            raise Refused(Reason.MIXED_LAYOUT, "channels lie beside axis 1")
        finite = np.isfinite(scale).all() and np.isfinite(bias).all()
        wild = is_wild(found.state).any() or not finite
        behind = any(axis > 1 for axis in found.axes)
        reads: tuple[Read, ...] = ()
        if behind:
            groups = found.labels.reshape(found.shape[1], -1)
            reads = tuple(Read(0, row, row) for row in groups)
        if found.shape[1] == 1:
            content = found.with_state(np.full(found.shape, WILD if wild else VARYING))
            fixed = (found.labels,) if behind else ()
            return Flow((content,), reads=reads, fixed=fixed, fragile=divided(op, found))
        # A non-zero constant channel becomes B only approximately: its mean is rounded, and the difference is divided
        # by a deviation of almost zero.
        state = np.where(scale == 0, bias.astype(np.float64), VARYING).reshape(1, -1, *(1,) * (found.rank - 2))
        state = np.broadcast_to(state, found.shape)
        silent = (found.state == 0) & bool(op.attrs.get("epsilon", 1e-5))
        zeros = silent.reshape(found.shape[1], -1).all(1).reshape(1, -1, *(1,) * (found.rank - 2))
        level = bias.astype(np.float64).reshape(zeros.shape)
        state = np.where(zeros, np.broadcast_to(level, found.shape), state)
        out = found.with_state(np.where(wild, WILD, state))
        return Flow((out,), reads=reads, fixed=(found.labels,) if behind else (), fragile=divided(op, found))

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        if found.shape[1] == 1 or is_full(emission, found.shape):
            return Resize((emission,))
        return Resize((emission,), _cut_vectors(op, 2, _common_groups(found, emission)))


def divided(op: Op, found: ChannelMap) -> tuple[IntArray, ...]:
    """The classes that would be divided by zero if they were constant, since epsilon is zero."""
    return () if op.attrs.get("epsilon", 1e-5) else (found.labels,)


def _common_groups(found: ChannelMap, emission: IntArray) -> IntArray:
    """The entries of axis 1 that are left. Raises `Misaligned` where they are not the same along all later axes."""
    try:
        return axis_positions(emission, found.shape, 1)
    except ValueError:
        raise Misaligned(found.labels) from None


class GroupNormalization(Rule):
    """scale, B: `(C,)`, before opset 21 `(num_groups,)`. A group stays or goes as a whole."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        scale, bias = _constant_vectors(op, 2)
        groups = int(op.attrs["num_groups"])
        if groups < 1:
            raise Refused(Reason.UNSUPPORTED_FORM, f"{groups} groups")
        if _is_of_groups(op):
            scale, bias = (vector.repeat(found.shape[1] // groups) for vector in (scale, bias))
        if any(axis != 1 for axis in found.axes) or found.shape[1] != scale.size or found.shape[1] % groups:
            raise Refused(Reason.MIXED_LAYOUT, "channels do not fill the groups")
        grid = found.labels.reshape(groups, -1)
        wild = is_wild(found.state).any() or not (np.isfinite(scale).all() and np.isfinite(bias).all())
        silent = (found.state.reshape(groups, -1) == 0).all(1) & bool(op.attrs.get("epsilon", 1e-5))
        zeros = np.repeat(silent, grid.shape[1])
        settled = np.where((scale == 0) | zeros, bias.astype(np.float64), VARYING).reshape(found.shape)
        state = np.where(wild, WILD, settled)
        reads = tuple(Read(0, row, row) for row in grid)
        out = found.with_state(state)
        return Flow((out,), reads=reads, evens=(Even((grid,)),), fixed=(grid,), fragile=divided(op, found))

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        if is_full(emission, found.shape):
            return Resize((emission,))
        width = found.shape[1] // int(op.attrs["num_groups"])
        # A dead group may be left in part, as padding, if all groups have the same number of channels left.
        used, counts = np.unique(emission.ravel() // width, return_counts=True)
        if (counts != counts[0]).any() or (np.diff(emission.ravel()) <= 0).any():
            raise Misaligned(found.labels)
        left = used if _is_of_groups(op) else emission.ravel()
        return Resize((emission,), _cut_vectors(op, 2, left), {"num_groups": int(used.size)})


def _is_of_groups(op: Op) -> bool:
    """Whether a GroupNormalization has a scale and a bias for each group, not for each channel."""
    return op.op_type == "GroupNormalization" and op.opset < _FIRST_OF_CHANNELS


register(BatchNormalization(), "BatchNormalization", since=7)
register(InstanceNormalization(), "InstanceNormalization")
register(GroupNormalization(), "GroupNormalization", since=18)
