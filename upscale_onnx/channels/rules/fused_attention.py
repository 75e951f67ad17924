"""Attention as one operator, with queries, keys and values that are computed in front of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules import head_cache, head_mask
from upscale_onnx.channels.rules.attention_forms import Form, grouped, multi_head, standard
from upscale_onnx.channels.rules.head_attention import attended, left_of, of_one_size
from upscale_onnx.channels.rules.head_layout import Grid, Held, grids, held
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array, FloatArray

_MASK_AXIS, _SINK_AXIS = -3, -1


class FusedAttention(Rule):
    """The rule of an operator of the form that `form` returns. Outputs: the result, all keys, all values."""

    data_inputs: int | None = None

    def __init__(self, form: Callable[[Op], Form]) -> None:
        self._form = form

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        form = self._form(op)
        if any(op.used[3:]):
            raise Refused(Reason.UNSUPPORTED_FORM, "the scores are used")
        parts = _biased(op, form, _parts(op, form, maps))
        q, (k, past_k), (v, past_v) = (
            parts["q"],
            *(head_cache.appended(op, maps, index, parts[part]) for index, part in enumerate("kv", form.past)),
        )
        past = [(index,) if op.is_dynamic(index) else () for index in (form.past, form.past + 1)]
        at = ((form.source("q"),), (form.source("k"), *past[0]), (form.source("v"), *past[1]))
        done = attended(at, q, k, v, fresh, form.whole)
        made = done.out.labels
        bounds = [head_mask.bound(op, maps, index, axis, made) for index, axis in _beside(form)]
        others = [(index, found) for index in _others(form, maps) if (found := maps[index]) is not None]
        reads = [Read(index, found.labels.ravel()) for index, found in others]
        wild = any(bound.wild for bound in bounds) or any(is_wild(found.state).any() for _, found in others)
        state = np.full(made.shape, WILD) if wild else done.out.state
        shape, (place,) = form.made.places([(made.shape[0], made.shape[1])])
        assert place.size == made.size
        result = ChannelMap(made.reshape(shape), state.reshape(shape))
        kept = [np.where(is_wild(grid.state), WILD, VARYING) for grid in (k, v)]
        cached = [head_cache.present(grid, content) for grid, content in zip((k, v), kept, strict=True)]
        return Flow(
            (result, *cached)[: len(op.used)],
            (*done.ties, *past_k, *past_v),
            (*done.reads, *reads, *(read for bound in bounds for read in bound.reads)),
            (
                *done.evens,
                *([of_one_size(k, v)] if form.alike else []),
            ),
            (*done.fixed, *(found.labels for _, found in others), *(one for bound in bounds for one in bound.fixed)),
            role=Role.CONTRACTION,
        )

    def resize(self, op: Op, request: Request) -> Resize:
        form = self._form(op)
        parts = _held(form, request)
        heads, groups = form.sizes["q"][0], form.sizes["k"][0]
        out = left_of(parts["q"], parts["k"], parts["v"], heads // groups, request.result.labels)
        size = (heads, form.sizes["v"][1])
        shape, _ = form.made.places([out.size])
        cached = [head_cache.emission(parts[part], form.sizes[part]) for part in "kv"]
        outputs = (out.flat(size[1]).reshape(shape), *cached)[: len(op.used)]
        for index in _others(form, request.maps):
            found, emission = request.maps[index], request.emissions[index]
            if found is not None and (emission is None or not is_full(emission, found.shape)):
                raise Misaligned(found.labels)
        new: dict[int, Array | NewNode | None] = {
            index: head_mask.narrowed(op, request, index, axis, out.heads, heads) for index, axis in _beside(form)
        }
        for index, part in enumerate("kv", form.past):
            new[index] = head_cache.narrowed(op, request, index, parts[part], form.sizes[part])
        if all(parts[part].size == form.sizes[part] for part in "qkv"):
            return Resize(outputs)
        bias = op.constant(form.bias) if form.bias >= 0 else None
        if bias is not None:
            starts = np.cumsum([0, *(count * features for count, features in (form.sizes[p] for p in "qk"))])
            rows = [parts[p].flat(form.sizes[p][1]).ravel() + start for p, start in zip("qkv", starts, strict=True)]
            new[form.bias] = bias.ravel()[np.concatenate(rows)]
        constants = {index: array for index, array in new.items() if isinstance(array, np.ndarray)}
        computed = {index: node for index, node in new.items() if isinstance(node, NewNode)}
        return Resize(outputs, constants, _attributes(form, parts), computed=computed)


def scale_of(features: int) -> float:
    """The factor of scores that operators take by default, as they compute it."""
    return float(np.float32(1) / np.sqrt(np.float32(features)))


def _parts(op: Op, form: Form, maps: Maps) -> dict[str, Grid]:
    found: dict[str, Grid] = {}
    for index, (layout, parts) in form.sources.items():
        if op.is_constant(index):
            raise Refused(Reason.UNSUPPORTED_FORM, f"input {index} is a constant")
        made = grids(known_map(maps[index], f"input {index}"), layout, form.parts(index))
        found.update(zip(parts, made, strict=True))
    return found


def _held(form: Form, request: Request) -> dict[str, Held]:
    kept: dict[str, Held] = {}
    for index, (layout, parts) in form.sources.items():
        found, emission = known_map(request.maps[index]), request.emissions[index]
        if emission is None:
            raise Misaligned(found.labels)
        kept.update(zip(parts, held(found, emission, layout, form.parts(index)), strict=True))
    return kept


def _biased(op: Op, form: Form, parts: Mapping[str, Grid]) -> Mapping[str, Grid]:
    """The parts with the bias added. Raises `Refused` where it is computed, or has another size."""
    if form.bias < 0 or not op.has(form.bias):
        return parts
    bias = op.constant(form.bias)
    sizes = [parts[part].labels.size for part in "qkv"]
    if bias is None or bias.size != sum(sizes):
        raise Refused(Reason.DYNAMIC_PARAMETER, "the bias is computed at run time, or has another size")
    pieces = np.split(bias.ravel().astype(np.float64), np.cumsum(sizes)[:-1])
    return {
        part: Grid(parts[part].labels, _sum(parts[part].state, piece.reshape(parts[part].state.shape)))
        for part, piece in zip("qkv", pieces, strict=True)
    }


def _sum(state: FloatArray, bias: FloatArray) -> FloatArray:
    return np.where(is_wild(state) | ~np.isfinite(bias), WILD, state + np.where(np.isfinite(bias), bias, 0.0))


def _beside(form: Form) -> list[tuple[int, int]]:
    """The inputs that may have one entry for each head, and on which axis."""
    return [(form.mask, _MASK_AXIS), *([(form.sinks, _SINK_AXIS)] if form.sinks >= 0 else [])]


def _others(form: Form, maps: Maps) -> list[int]:
    """The inputs that are the same for all heads: lengths, places, tables."""
    known = {*form.sources, form.past, form.past + 1, form.bias, *(index for index, _ in _beside(form))}
    return [index for index in range(len(maps)) if index not in known]


def _attributes(form: Form, parts: Mapping[str, Held]) -> dict[str, Any]:
    attrs: dict[str, Any] = {name: len(parts[part].heads) for name, part in form.counts.items()}
    features = form.sizes["q"][1]
    if not form.scaled and parts["q"].size[1] != features:
        attrs["scale"] = scale_of(features)
    return attrs


register(FusedAttention(standard), "Attention", since=23)
register(FusedAttention(multi_head), "MultiHeadAttention", domain=RUNTIME_DOMAIN)
register(FusedAttention(grouped), "GroupQueryAttention", domain=RUNTIME_DOMAIN)
