"""Quantisers of activations: each channel is rounded by itself, so channels pass through."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import axis_positions, full_emission, is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.errors import Reason
from upscale_onnx.model.quantiser import computed
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import FloatArray


class Quantise(Rule):
    """The rule of one scale for the whole value, or one for each index along an axis."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        if any(op.is_dynamic(index) and op.in_dims[index] != () for index in (1, 2)):
            raise Refused(Reason.DYNAMIC_PARAMETER, "scales are computed at run time")
        axis = _axis(op, found.rank)
        scale = op.constant(1)
        if axis is not None and scale is not None and found.shape[axis] not in (1, scale.size):
            raise Refused(Reason.UNSUPPORTED_FORM, f"{scale.size} scales for {found.shape[axis]} channels")
        return Flow((found.with_state(_content(op, found)),), role=Role.POINTWISE)

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        axis = _axis(op, found.rank)
        if axis is None or found.shape[axis] == 1 or is_full(emission, found.shape):
            return Resize((emission,))
        try:
            kept = axis_positions(emission, found.shape, axis)
        except ValueError:
            raise Misaligned(found.labels) from None
        vectors = {index: op.constant(index) for index in (1, 2)}
        return Resize((emission,), {i: vector[kept] for i, vector in vectors.items() if vector is not None})


class DynamicQuantise(Rule):
    """Takes its range from the least and the largest number of its input, and from zero. So channels of zeros may
    leave, and no others."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        wild = bool(is_wild(found.state).any())
        zeros = (found.state == 0) & (not wild)
        scale, point = fresh(1).reshape(()), fresh(1).reshape(())
        content = WILD if wild else VARYING
        made = ChannelMap(found.labels, np.full(found.shape, VARYING), zeros, int(point))
        read = Read(0, found.labels.ravel(), foldable=zeros.ravel())
        outputs = (made, ChannelMap(scale, np.asarray(content)), ChannelMap(point, np.asarray(VARYING)))
        return Flow(outputs, reads=(read,))

    def resize(self, op: Op, request: Request) -> Resize:
        _, emission = request.first_input()
        return Resize((emission, full_emission(()), full_emission(())))


def zero_point(op: Op, index: int) -> float:
    """The only entry of the zero point at input `index`; zero where it is left out, as it always is at -1.

    Raises: Refused where there are several entries.
    """
    found = op.constant(index) if index >= 0 else None
    if found is None:
        return 0.0
    if found.size != 1:
        raise Refused(Reason.UNSUPPORTED_FORM, f"a zero point of shape {found.shape}")
    return float(found.reshape(-1)[0])


def _axis(op: Op, rank: int) -> int | None:
    """The axis of the scales; None where one scale is for the whole value."""
    scale = op.constant(1)
    if scale is None or scale.size == 1:
        return None
    if scale.ndim != 1:
        raise Refused(Reason.UNSUPPORTED_FORM, "scales of blocks")
    axis = op.axis("axis", 1, rank)
    if axis == rank:
        raise Refused(Reason.UNSUPPORTED_FORM, f"attribute axis is {axis}, but there are {rank} axes")
    return axis


def _content(op: Op, found: ChannelMap) -> FloatArray:
    """What constant channels hold behind the node: the reference evaluator rounds them."""
    state = np.where(is_wild(found.state), WILD, VARYING)
    known = is_constant(found.state)
    if not known.any() or op.is_dynamic(1) or op.is_dynamic(2):
        return state
    values = np.where(known, found.state, 0).astype(op.dtype(0))
    parameters = [op.constant(index) for index in (1, 2)]
    made = computed(op.op_type, op.attrs, (values, *parameters))
    if made is None or made.shape != state.shape:
        return state
    rounded = made.astype(np.float64)
    return np.where(known, np.where(np.isfinite(rounded), rounded, WILD), state)


for _domain in ("", RUNTIME_DOMAIN):
    register(Quantise(), "QuantizeLinear", "DequantizeLinear", domain=_domain)
register(DynamicQuantise(), "DynamicQuantizeLinear")
