"""Gemm, and MatMul with a constant on either side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.attention import Attend
from upscale_onnx.channels.rules.batched_product import BatchedProduct
from upscale_onnx.channels.rules.beside import (
    carried_beside,
    makes_neurons,
    neurons_beside,
    read_beside,
    with_neurons,
    without_neurons,
)
from upscale_onnx.channels.rules.contraction import Contraction
from upscale_onnx.channels.rules.kernel import DenseKernel, same_kernel
from upscale_onnx.errors import Reason
from upscale_onnx.model.contractions import WeightLayout, weight_layout
from upscale_onnx.types import Array


class Gemm(Contraction):
    """The rule of A `(M, K)`, B `(K, N)` (with transB `(N, K)`), and C, which broadcasts to `(M, N)`."""

    merged_axes = True

    def kernel(self, op: Op, maps: Maps) -> DenseKernel:
        weight, bias = op.constant(1), op.constant(2)
        if weight is None or op.is_dynamic(2):
            raise Refused(Reason.DYNAMIC_PARAMETER, "weight or bias is computed at run time")
        layout = _layout(op, 1)
        canonical = layout.canonical(weight)
        rows = canonical.shape[0]
        if bias is not None and not (bias.size == rows and bias.shape[-1:] == (rows,)) and bias.size != 1:
            raise Refused(Reason.UNSUPPORTED_FORM, f"bias of shape {bias.shape}")
        alpha, beta = float(op.attrs.get("alpha", 1.0)), float(op.attrs.get("beta", 1.0))
        if alpha != 1.0:
            canonical = canonical * np.asarray(alpha, weight.dtype)
        vector = None if bias is None else np.broadcast_to(bias.ravel(), (rows,)) * np.asarray(beta, weight.dtype)
        return DenseKernel(canonical, vector, 0, 2 + layout.read_axis, 1)

    def store(self, op: Op, kernel: DenseKernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        constants = {1: _layout(op, 1).stored(kernel.weight)}
        # The kernel's weight and bias already include alpha and beta.
        factors = {} if float(op.attrs.get("alpha", 1.0)) == 1.0 else {"alpha": 1.0}
        old = op.constant(2)
        if not bias_changed or kernel.bias is None:
            return constants, factors
        shape = (1, -1) if old is not None and old.ndim == 2 else (-1,)
        constants[2] = kernel.bias.reshape(shape)
        return constants, factors if float(op.attrs.get("beta", 1.0)) == 1.0 else {**factors, "beta": 1.0}


class _Product(Contraction):
    """A MatMul whose input `operand` is a constant matrix; the other is X `(…, M, K)` or `(…, K, N)`. There is no
    bias, so only zeros fold."""

    def __init__(self, operand: int) -> None:
        self._operand = operand

    def kernel(self, op: Op, maps: Maps) -> DenseKernel:
        weight, rank = op.constant(self._operand), op.in_rank(1 - self._operand)
        if weight is None or rank is None:
            raise Refused(Reason.UNKNOWN_SHAPE, "rank of the activation is not known")
        if weight.ndim < 2 or any(size != 1 for size in weight.shape[:-2]):
            raise Refused(Reason.UNSUPPORTED_FORM, f"weight of shape {weight.shape}")
        if rank < weight.ndim:
            raise Refused(Reason.UNSUPPORTED_FORM, "activation of lower rank than the weight")
        layout = _layout(op, self._operand)
        matrix = layout.canonical(weight.reshape(weight.shape[-2:]))
        read, made = rank + layout.read_axis, rank + layout.made_axis
        return DenseKernel(matrix, None, 1 - self._operand, read, made, folds=False)

    def store(self, op: Op, kernel: DenseKernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        old, matrix = op.constant(self._operand), _layout(op, self._operand).stored(kernel.weight)
        leading = () if old is None else old.shape[:-2]
        return {self._operand: matrix.reshape(*leading, *matrix.shape)}, {}


def _layout(op: Op, operand: int) -> WeightLayout:
    """The layout of a constant matrix that is the node's input `operand`."""
    layout = weight_layout(op.op_type, op.attrs, 2, operand)
    assert layout is not None, op.op_type
    return layout


class MatMul(Rule):
    """Chooses the rule by the constant operand. A MatMul of two activations has the rule of attention."""

    data_inputs: int | None = None
    merged_axes = True

    def __init__(self) -> None:
        self._sides: Mapping[int, Rule] = {1: _Product(1), 0: _Product(0)}
        self._batches: Mapping[int, Rule] = {1: BatchedProduct(1), 0: BatchedProduct(0)}
        self._attend = Attend()

    def _side(self, op: Op) -> Rule:
        for operand in (1, 0):
            weight = op.constant(operand)
            if weight is not None:
                return (self._batches if weight.ndim > 2 and weight.shape[-3] != 1 else self._sides)[operand]
        return self._attend

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        side = self._side(op)
        kernel = _beside(side, op, maps)
        if kernel is None:
            return side.flow(op, maps, fresh)
        found = known_map(maps[kernel.input])
        if kernel.in_axis in found.axes:
            return read_beside(kernel, maps, fresh)
        return neurons_beside(kernel, maps, fresh) if makes_neurons(kernel, op, found) else carried_beside(kernel, maps)

    def resize(self, op: Op, request: Request) -> Resize:
        side = self._side(op)
        kernel = _beside(side, op, request.maps)
        if kernel is None or not isinstance(side, Contraction):
            return side.resize(op, request)
        found, emission = known_map(request.maps[kernel.input]), request.emissions[kernel.input]
        read = kernel.in_axis in found.axes
        if emission is not None and not read and not makes_neurons(kernel, op, found):
            return Resize((emission,))
        small, resized = without_neurons(kernel, request) if read else with_neurons(kernel, request)
        return replace(resized, constants={} if same_kernel(small, kernel) else side.store(op, small, False)[0])


def _beside(side: Rule, op: Op, maps: Maps) -> DenseKernel | None:
    """The kernel of a product beside whose contracted axis there are others with channels, which stay where they are;
    None for other products."""
    kernel = side.kernel(op, maps) if isinstance(side, Contraction) else None
    if kernel is None or kernel.in_axis != kernel.out_axis:
        return None
    found = known_map(maps[kernel.input], "the activation")
    if all(axis == kernel.in_axis for axis in found.axes):
        return None
    return kernel if kernel.in_axis not in found.axes or _has_neurons(kernel, found) else None


def _has_neurons(kernel: DenseKernel, found: ChannelMap) -> bool:
    return found.merged is None and found.shape[kernel.in_axis] == kernel.channels_in


register(Gemm(), "Gemm")
register(MatMul(), "MatMul")
