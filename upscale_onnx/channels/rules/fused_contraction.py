"""onnxruntime's FusedConv and FusedGemm: a contraction, for a Conv a sum with another value, and an activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, known_map
from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Request, Resize, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.contraction import Contraction
from upscale_onnx.channels.rules.conv import Conv
from upscale_onnx.channels.rules.linear import Gemm
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import FloatArray, IntArray

# The operators and their parameters, in the order in which a FusedConv lists them.
_ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "": (),
    "Relu": (),
    "Tanh": (),
    "Sigmoid": (),
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Clip": ("min", "max"),
}
_NEWEST_WITH_BOUNDS = 6  # of Clip as attributes
_OPSET = 20
_SUMMED = 3


class Fused(Rule):
    """The rule of `inner` with what is fused behind it. A sum ties the added value to the result."""

    data_inputs: int | None = None

    def __init__(self, inner: Contraction) -> None:
        self._inner = inner

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        made = self._inner.flow(op, maps, fresh)
        out = known_map(made.outputs[0], "the result")
        ties: tuple[tuple[IntArray, IntArray], ...] = ()
        if op.has(_SUMMED):
            added = _added(op, maps, out)
            ties, out = ((out.labels, added.labels),), out.with_state(_sum(out.state, added.state))
        return replace(made, outputs=(out.with_state(_activated(op, out.state)),), ties=ties, linear=False)

    def resize(self, op: Op, request: Request) -> Resize:
        # The contraction alone, which knows nothing of the sum and the activation, makes these constants.
        before = self._inner.flow(op, request.maps, _numbered).outputs[0]
        found = request.result.with_state(known_map(before, "the result").state)
        made = self._inner.resize(op, replace(request, out=(found, *request.out[1:])))
        if op.has(_SUMMED):
            added = request.emissions[_SUMMED]
            if added is None or not np.array_equal(added, made.outputs[0]):
                raise Misaligned(request.result.labels)
        return made


def _numbered(count: int) -> IntArray:
    """Classes whose ids do not matter."""
    return np.arange(count, dtype=np.int64)


def _added(op: Op, maps: Maps, out: ChannelMap) -> ChannelMap:
    if op.constant(_SUMMED) is not None:
        raise Refused(Reason.UNSUPPORTED_FORM, "a constant is added")
    added = known_map(maps[_SUMMED], "the added value")
    if added.shape != out.shape:
        raise Refused(Reason.MIXED_LAYOUT, f"a value with channels {added.shape} is added to {out.shape}")
    return added


def _sum(left: FloatArray, right: FloatArray) -> FloatArray:
    known = is_constant(left) & is_constant(right)
    wild = is_wild(left) | is_wild(right)
    total = np.where(known, left, 0.0) + np.where(known, right, 0.0)
    return np.where(wild, WILD, np.where(known, total, VARYING))


def _activated(op: Op, state: FloatArray) -> FloatArray:
    """The contents behind the activation. Raises `Refused` where it is none that onnxruntime fuses."""
    name, attrs = _activation(op)
    if not name:
        return state
    known = is_constant(state)
    values = evaluate(name, _NEWEST_WITH_BOUNDS if name == "Clip" else _OPSET, attrs, [state.astype(op.dtype(0))])
    if values is None:
        return np.where(is_wild(state), WILD, VARYING)
    computed = np.where(known, values[0], 0.0).astype(np.float64)
    return np.where(is_wild(state), WILD, np.where(known & np.isfinite(computed), computed, VARYING))


def _activation(op: Op) -> tuple[str, dict[str, float]]:
    name = str(op.attrs.get("activation", ""))
    if name not in _ACTIVATIONS:
        raise Refused(Reason.UNSUPPORTED_FORM, f"activation {name}")
    wanted, given = _ACTIVATIONS[name], [float(value) for value in op.attrs.get("activation_params", ())]
    if op.op_type == "FusedGemm":
        given = [float(op.attrs[f"activation_{key}"]) for key in wanted if f"activation_{key}" in op.attrs]
    if len(given) != len(wanted) and wanted:
        raise Refused(Reason.UNSUPPORTED_FORM, f"activation {name} with {len(given)} parameters")
    return name, dict(zip(wanted, given, strict=False))


register(Fused(Conv()), "FusedConv", domain=RUNTIME_DOMAIN)
register(Fused(Gemm()), "FusedGemm", domain=RUNTIME_DOMAIN)
