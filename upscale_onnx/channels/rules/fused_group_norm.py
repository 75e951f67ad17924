"""onnxruntime's GroupNorm and SkipGroupNorm: a GroupNormalization, maybe of a sum, with channels on the last axis or on
axis 1, and maybe an activation behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, known_map
from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.normalization import GroupNormalization
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import FloatArray

_SKIP, _BIAS = 3, 4
_WITH_SWISH = 24


class FusedGroupNorm(Rule):
    """The rule of X `(N, H, W, C)` or `(N, C, H, W)`, gamma and beta `(C,)`; for a sum also skip, like X or `(N, C)`,
    and a bias `(C,)`. The second result is the sum."""

    data_inputs: int | None = None

    def __init__(self) -> None:
        self._inner = GroupNormalization()

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        if op.is_dynamic(_BIAS):
            raise Refused(Reason.DYNAMIC_PARAMETER, "the bias is computed at run time")
        total, axis = _total(op, maps), _axis(op, maps)
        made = self._inner.flow(_plain(op), (_first(total, axis),), fresh)
        found = known_map(made.outputs[0])
        content = np.moveaxis(_activated(op, found.state), 1, axis)
        outputs = (total.with_state(content), total)
        if not op.has(_SKIP):
            return replace(made, outputs=outputs[:1])
        skip = known_map(maps[_SKIP], "the skipped value").labels.ravel()
        reads = (*made.reads, *(Read(_SKIP, read.sources, read.targets) for read in made.reads))
        return replace(made, outputs=outputs[: len(op.used)], ties=((total.labels.ravel(), skip),), reads=reads)

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        skip = request.emissions[_SKIP] if op.has(_SKIP) else emission
        if skip is None or not np.array_equal(skip.ravel(), emission.ravel()):
            raise Misaligned(found.labels)
        axis = _axis(op, request.maps)
        plain = replace(request, maps=(_first(found, axis),), emissions=(np.moveaxis(emission, axis, 1),))
        made = self._inner.resize(_plain(op), plain)
        bias = op.constant(_BIAS)
        constants = dict(made.constants)
        if constants and bias is not None:
            constants[_BIAS] = bias[emission.ravel()]
        attrs = {"groups": made.attrs["num_groups"]} if made.attrs else {}
        return Resize((emission,) * len(op.used), constants, attrs)


def _axis(op: Op, maps: Maps) -> int:
    return known_map(maps[0]).rank - 1 if op.attrs.get("channels_last", 1) else 1


def _first(found: ChannelMap, axis: int) -> ChannelMap:
    """The map with channels on axis 1."""
    return ChannelMap(np.moveaxis(found.labels, axis, 1), np.moveaxis(found.state, axis, 1))


def _plain(op: Op) -> Op:
    """The node as a GroupNormalization."""
    return replace(op, attrs={"num_groups": op.attrs.get("groups", 0), "epsilon": op.attrs.get("epsilon", 1e-5)})


def _total(op: Op, maps: Maps) -> ChannelMap:
    """The map of what is normalised. Raises `Refused` where the operands do not fit."""
    found = known_map(maps[0])
    if not op.has(_SKIP):
        return found
    skip, bias = known_map(maps[_SKIP], "the skipped value"), op.constant(_BIAS)
    size = found.labels.size
    if skip.shape[-1 if skip.rank == 2 else _axis(op, maps)] != size or skip.labels.size != size:
        raise Refused(Reason.MIXED_LAYOUT, f"operands with channels {found.shape} and {skip.shape}")
    if bias is not None and bias.shape != (size,):
        raise Refused(Reason.UNSUPPORTED_FORM, f"bias of shape {bias.shape}")
    added: FloatArray = np.zeros(size) if bias is None else bias.astype(np.float64)
    other = skip.state.reshape(found.shape)
    wild = is_wild(found.state) | is_wild(other) | ~np.isfinite(added).reshape(found.shape)
    zero = (found.state == 0) & (other == 0) & (added == 0).reshape(found.shape)
    return found.with_state(np.where(wild, WILD, np.where(zero, 0.0, VARYING)))


def _activated(op: Op, state: FloatArray) -> FloatArray:
    """The contents behind the activation."""
    if not op.attrs.get("activation", 0):
        return state
    values = evaluate("Swish", _WITH_SWISH, {}, [np.where(is_constant(state), state, 0).astype(np.float32)])
    if values is None:
        return np.where(is_wild(state), WILD, VARYING)
    return np.where(is_constant(state), values[0].astype(np.float64), state)


register(FusedGroupNorm(), "GroupNorm", "SkipGroupNorm", domain=RUNTIME_DOMAIN)
