"""Contractions of integers: QLinearConv, ConvInteger, QLinearMatMul, MatMulInteger, and those of onnxruntime.

A channel that holds its zero point adds nothing, other constants add to the bias. Where nothing varies, the result
holds what the bias is rounded to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, is_wild
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Read, Request, Resize
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.contraction import Contraction
from upscale_onnx.channels.rules.conv import is_padded
from upscale_onnx.channels.rules.kernel import DenseKernel
from upscale_onnx.channels.rules.quantise import zero_point
from upscale_onnx.channels.rules.steps import at_zero, rounded
from upscale_onnx.errors import Reason
from upscale_onnx.model.contractions import WeightLayout, weight_layout
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array, FloatArray

_MATRIX = 2


@dataclass(frozen=True)
class Inputs:
    """Which input of an operator is what; -1 where it has none.

    like: the operator of floating-point numbers that contracts alike. point, weight_point, made_point: the zero points
    of the activation, which is input 0, of the weight and of the result. bias: a bias of integers. added: one of
    floating-point numbers. scale: the scale of the weight. spans: whether the node quantises the activation by the
    least and the largest number in it. made_scale: the scale of the result; that of the activation is input 1 then.
    """

    like: str
    weight: int
    point: int = -1
    weight_point: int = -1
    scale: int = -1
    made_point: int = -1
    bias: int = -1
    added: int = -1
    spans: bool = False
    made_scale: int = -1


class Integer(Contraction):
    """The rule of a constant weight, with one zero point for all or one for each output channel."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        flow = super().flow(op, self._seen(op, maps), fresh)
        beside = [(index, found) for index, found in enumerate(maps) if index and found is not None]
        reads = [Read(index, found.labels.ravel()) for index, found in beside]
        found = maps[0]
        if self._inputs.spans and found is not None:
            # The range always includes zero. Channels of any other content may hold the least or the largest number.
            labels, state = found.labels.ravel(), found.state.ravel()
            reads.append(Read(0, labels[state != 0]))
        return replace(flow, reads=(*flow.reads, *reads)) if reads else flow

    def resize(self, op: Op, request: Request) -> Resize:
        return super().resize(op, replace(request, maps=self._seen(op, request.maps)))

    def _seen(self, op: Op, maps: Maps) -> Maps:
        """The maps, with zero for channels of the activation that hold a zero point computed at run time."""
        at, found = self._inputs.point, maps[0]
        if at < 0 or not op.is_dynamic(at) or found is None:
            return maps
        state = np.where(is_wild(found.state), WILD, VARYING)
        point = maps[at]
        if found.at_point is not None and point is not None and point.labels.size == 1:
            state = np.where(found.at_point & (point.labels.flat[0] == found.point), 0.0, state)
        return (found.with_state(state), *maps[1:])

    def kernel(self, op: Op, maps: Maps) -> DenseKernel:
        at = self._inputs
        weight = op.constant(at.weight)
        parameters = (at.weight_point, at.scale, at.bias, at.added, at.made_point, at.made_scale)
        if weight is None or any(index >= 0 and op.is_dynamic(index) for index in parameters):
            raise Refused(Reason.DYNAMIC_PARAMETER, "weight, scale, zero point or bias is computed at run time")
        if at.point >= 0 and op.is_dynamic(at.point) and op.in_dims[at.point] not in ((), (1,)):
            raise Refused(Reason.DYNAMIC_PARAMETER, "zero points of the activation are computed at run time")
        if op.attrs.get("transA", 0):
            raise Refused(Reason.UNSUPPORTED_FORM, "transposed activation")
        layout = _layout(op, at, weight.ndim)
        if layout.group < 1 or weight.shape[0] % layout.group:
            raise Refused(Reason.UNSUPPORTED_FORM, f"{weight.shape[0]} channels in {layout.group} groups")
        canonical = layout.canonical(weight.astype(np.int32))
        count = canonical.shape[0]
        rows = {index: _vector(op, index, count) for index in (at.weight_point, at.scale, at.added)}
        varied = {index: vector for index, vector in rows.items() if vector is not None and vector.size != 1}
        if not all(np.isfinite(vector).all() for vector in rows.values() if vector is not None):
            raise Refused(Reason.UNSUPPORTED_FORM, "a scale or a bias is no finite number")
        point = rows[at.weight_point]
        if point is not None:
            canonical = canonical - point.astype(np.int32).reshape(-1, *[1] * (canonical.ndim - 1))
        bias = _vector(op, at.bias, count)
        axis = 1 if at.like != "MatMul" else _last_axis(op)
        made = self._made(op, rows[at.scale], rows[at.added], count)
        zero = zero_point(op, at.point)
        full = None if bias is None else np.broadcast_to(bias, (count,))
        folds = at.bias >= 0 and not is_padded(op)
        return DenseKernel(canonical, full, 0, axis, axis, layout.group, folds, zero, made, varied)

    def _made(self, op: Op, scale: Array | None, added: Array | None, count: int) -> Callable[[FloatArray], FloatArray]:
        """The contents of the result, from those of the sums."""
        at = self._inputs
        if added is not None:
            return partial(at_zero, np.broadcast_to(added.astype(np.float64), (count,)))
        made, point = op.constant(at.made_scale) if at.made_scale >= 0 else None, op.constant(at.made_point)
        read = op.constant(1)
        level = zero_point(op, at.made_point)
        if made is None or point is None or read is None or scale is None or made.size != 1 or read.size != 1:
            return partial(at_zero, level)
        step = made.astype(np.float64) / (read.astype(np.float64) * scale * float(op.attrs.get("alpha", 1.0)))
        return partial(rounded, scale=step.ravel(), point=point.ravel())

    def store(self, op: Op, kernel: DenseKernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        at = self._inputs
        old, point = op.constant(at.weight), kernel.rows.get(at.weight_point)
        assert old is not None
        if point is None:
            point = np.asarray([zero_point(op, at.weight_point)])
        shifted = kernel.weight + point.astype(np.int32).reshape(-1, *[1] * (kernel.weight.ndim - 1))
        layout = replace(_layout(op, at, old.ndim), group=kernel.group)
        constants = {at.weight: layout.stored(shifted.astype(old.dtype))}
        for index, vector in kernel.rows.items():
            constants[index] = _like(op.constant(index), vector)
        if bias_changed and kernel.bias is not None:
            constants[at.bias] = _like(op.constant(at.bias), kernel.bias)
        return constants, {} if kernel.group == op.attrs.get("group", 1) else {"group": kernel.group}


def _layout(op: Op, at: Inputs, rank: int) -> WeightLayout:
    layout = weight_layout(at.like, op.attrs, rank)
    if layout is None or (at.like != "Conv" and rank != _MATRIX):
        raise Refused(Reason.UNSUPPORTED_FORM, f"weight of rank {rank}")
    return layout


def _last_axis(op: Op) -> int:
    rank = op.in_rank(0)
    if rank is None:
        raise Refused(Reason.UNKNOWN_SHAPE, "rank of the activation is not known")
    if rank < _MATRIX:
        raise Refused(Reason.UNSUPPORTED_FORM, "activation of lower rank than the weight")
    return rank - 1


def _vector(op: Op, index: int, count: int) -> Array | None:
    """A parameter with one entry, or one for each output channel, as a vector. Raises `Refused` for other shapes."""
    found = op.constant(index) if index >= 0 else None
    if found is None:
        return None
    if found.size != 1 and not (found.size == count and found.shape[-1] == count):
        raise Refused(Reason.UNSUPPORTED_FORM, f"a parameter of shape {found.shape} for {count} channels")
    return found.reshape(-1)


def _like(old: Array | None, vector: Array) -> Array:
    """`vector` in the type of the constant that it replaces, with as many axes."""
    if old is None:
        return vector
    return vector.astype(old.dtype).reshape([1] * max(old.ndim - 1, 0) + [-1])


QLINEAR_CONV = Inputs("Conv", 3, 2, 5, 4, 7, bias=8, made_scale=6)
register(Integer(QLINEAR_CONV), "QLinearConv")
register(Integer(Inputs("Conv", 1, 2, 3)), "ConvInteger")
register(Integer(Inputs("MatMul", 3, 2, 5, 4, 7, made_scale=6)), "QLinearMatMul")
register(Integer(Inputs("MatMul", 1, 2, 3)), "MatMulInteger")
register(Integer(Inputs("Gemm", 3, 2, 5, 4, 8, bias=6, made_scale=7)), "QGemm", domain=RUNTIME_DOMAIN)
register(Integer(Inputs("MatMul", 1, 4, 5, 3, added=6)), "MatMulIntegerToFloat", domain=RUNTIME_DOMAIN)
register(Integer(Inputs("MatMul", 1, -1, 3, 2, added=4, spans=True)), "DynamicQuantizeMatMul", domain=RUNTIME_DOMAIN)
