"""onnxruntime's Attention and QAttention: one weight makes queries, keys and values of the input, within the node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import WILD, ChannelMap, is_wild, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules import head_mask
from upscale_onnx.channels.rules.contraction import Contraction
from upscale_onnx.channels.rules.fused_attention import scale_of
from upscale_onnx.channels.rules.head_attention import attended, left_of, of_one_size
from upscale_onnx.channels.rules.head_layout import Held, Layout, Size, grids, held
from upscale_onnx.channels.rules.integer import Inputs, Integer
from upscale_onnx.channels.rules.kernel import DenseKernel
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array

_WEIGHT, _BIAS = 1, 2
_MASK_AXIS = -3


class _Projection(Contraction):
    """The rule of the product of X `(batch, length, I)` and the weight `(I, all features)`, with a bias."""

    def kernel(self, op: Op, maps: Maps) -> DenseKernel:
        weight, bias = op.constant(_WEIGHT), op.constant(_BIAS)
        if weight is None or op.is_dynamic(_BIAS):
            raise Refused(Reason.DYNAMIC_PARAMETER, "weight or bias is computed at run time")
        if weight.ndim != 2 or (bias is not None and bias.size != weight.shape[1]):
            raise Refused(Reason.UNSUPPORTED_FORM, f"weight of shape {weight.shape}")
        return DenseKernel(weight.T, None if bias is None else bias.ravel(), 0, 2, 2)

    def store(self, op: Op, kernel: DenseKernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        constants = {_WEIGHT: np.ascontiguousarray(kernel.weight.T)}
        if bias_changed and kernel.bias is not None:
            constants[_BIAS] = kernel.bias
        return constants, {}


class PackedAttention(Rule):
    """The rule of inputs X, weight, bias, and others, among them `past`, and `mask` if there is one. Heads and features
    go with their columns of the weight, as `projection` cuts it. With a past, which holds all of them, the node is a
    barrier. alike: whether all parts must keep as many features, since the operator has no attribute for it."""

    data_inputs: int | None = None

    def __init__(self, projection: Contraction, past: int, mask: int | None = None, alike: bool = False) -> None:
        self._projection, self._past, self._mask, self._alike = projection, past, mask, alike

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        if op.has(self._past) or any(op.used[1:]):
            raise Refused(Reason.UNSUPPORTED_FORM, "keys and values of former steps keep their heads")
        sizes = _sizes(op)
        projected = self._projection.flow(op, maps, fresh)
        inner = known_map(projected.outputs[0])
        q, k, v = grids(inner, Layout.MERGED, sizes)
        done = attended(((_WEIGHT,),) * 3, q, k, v, fresh, bool(op.attrs.get("do_rotary", 0)))
        made = done.out.labels
        mask = self._mask
        bound = head_mask.Bound() if mask is None else head_mask.bound(op, maps, mask, _MASK_AXIS, made)
        others = [(index, found) for index in self._others(maps) if (found := maps[index]) is not None]
        wild = bound.wild or any(is_wild(found.state).any() for _, found in others)
        state = np.full(made.shape, WILD) if wild else done.out.state
        shape, _ = Layout.MERGED.places([(made.shape[0], made.shape[1])])
        return Flow(
            (ChannelMap(made.reshape(shape), state.reshape(shape)),),
            done.ties,
            (*projected.reads, *done.reads, *bound.reads, *(Read(i, found.labels.ravel()) for i, found in others)),
            (*done.evens, *([of_one_size(k, v)] if self._alike else [])),
            (*done.fixed, *bound.fixed, *(found.labels for _, found in others)),
            creates=True,
            role=Role.CONTRACTION,
            inner=inner,
        )

    def resize(self, op: Op, request: Request) -> Resize:
        inner, sizes = known_map(request.inner), _sizes(op)
        cut = self._projection.resize(op, Request(request.maps, request.emissions, (inner,), request.choose))
        parts = held(inner, cut.outputs[0], Layout.MERGED, sizes)
        out = left_of(parts[0], parts[1], parts[2], 1, inner.labels)
        for index in self._others(request.maps):
            found, emission = request.maps[index], request.emissions[index]
            if found is not None and (emission is None or not is_full(emission, found.shape)):
                raise Misaligned(found.labels)
        constants, computed = dict(cut.constants), dict[int, NewNode]()
        if self._mask is not None:
            mask = head_mask.narrowed(op, request, self._mask, _MASK_AXIS, out.heads, sizes[0][0])
            constants.update({self._mask: mask} if isinstance(mask, np.ndarray) else {})
            computed.update({self._mask: mask} if isinstance(mask, NewNode) else {})
        shape, _ = Layout.MERGED.places([out.size])
        return Resize(
            (out.flat(sizes[2][1]).reshape(shape),),
            constants,
            _attributes(op, sizes, parts),
            computed=computed,
        )

    def _others(self, maps: Maps) -> list[int]:
        """The inputs that are the same for all heads."""
        return [index for index in range(1, len(maps)) if index not in (_WEIGHT, _BIAS, self._mask)]


def _sizes(op: Op) -> list[Size]:
    """Heads and features of queries, keys and values. Raises `Refused` where the weight does not hold them."""
    weight, heads = op.constant(_WEIGHT), int(op.attrs.get("num_heads", 0))
    width = 0 if weight is None else weight.shape[-1]
    given = [int(size) for size in op.attrs.get("qkv_hidden_sizes", ())] or [width // 3] * 3
    if heads < 1 or len(given) != 3 or sum(given) != width or given[0] != given[1]:
        raise Refused(Reason.UNSUPPORTED_FORM, f"{width} columns for {heads} heads of {given} features together")
    if any(size < 1 or size % heads for size in given):
        raise Refused(Reason.UNSUPPORTED_FORM, f"{heads} heads of {given} features together")
    return [(heads, size // heads) for size in given]


def _attributes(op: Op, sizes: list[Size], parts: list[Held]) -> dict[str, Any]:
    if [part.size for part in parts] == sizes:
        return {}
    widths = [heads * features for heads, features in (part.size for part in parts)]
    attrs: dict[str, Any] = {"num_heads": parts[0].size[0]}
    if len(set(widths)) > 1 or op.attrs.get("qkv_hidden_sizes"):
        attrs["qkv_hidden_sizes"] = widths
    if parts[0].size[1] != sizes[0][1] and not op.attrs.get("scale", 0.0):
        attrs["scale"] = scale_of(sizes[0][1])
    return attrs


_QUANTISED = Integer(Inputs("MatMul", _WEIGHT, point=6, weight_point=7, scale=4, added=_BIAS))
register(PackedAttention(_Projection(), past=4, mask=5), "Attention", domain=RUNTIME_DOMAIN)
register(PackedAttention(_QUANTISED, past=8, alike=True), "QAttention", domain=RUNTIME_DOMAIN)
