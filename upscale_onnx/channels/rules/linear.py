"""Gemm, and MatMul with a constant on either side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from upscale_onnx.channels.flow import Chooser, Emissions, Flow, Fresh, Maps, Resize
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.attention import Attend
from upscale_onnx.channels.rules.contraction import Contraction
from upscale_onnx.channels.rules.kernel import Kernel
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array


class Gemm(Contraction):
    """A: `(M, K)`, B: `(K, N)` or `(N, K)` with transB, C: broadcast to `(M, N)`."""

    def kernel(self, op: Op, maps: Maps) -> Kernel:
        weight, bias = op.constant(1), op.constant(2)
        if weight is None or op.is_dynamic(2):
            raise Refused(Reason.DYNAMIC_PARAMETER, "weight or bias is computed at run time")
        if op.attrs.get("transA", 0):
            raise Refused(Reason.UNSUPPORTED_FORM, "transposed activation")
        canonical = weight if op.attrs.get("transB", 0) else weight.T
        rows = canonical.shape[0]
        if bias is not None and not (bias.size == rows and bias.shape[-1:] == (rows,)) and bias.size != 1:
            raise Refused(Reason.UNSUPPORTED_FORM, f"bias of shape {bias.shape}")
        alpha, beta = float(op.attrs.get("alpha", 1.0)), float(op.attrs.get("beta", 1.0))
        if alpha != 1.0:
            canonical = canonical * np.asarray(alpha, weight.dtype)
        vector = None if bias is None else np.broadcast_to(bias.ravel(), (rows,)) * np.asarray(beta, weight.dtype)
        return Kernel(canonical, vector, 0, 1, 1)

    def store(self, op: Op, kernel: Kernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        weight = kernel.weight if op.attrs.get("transB", 0) else kernel.weight.T
        constants = {1: np.ascontiguousarray(weight)}
        # A kernel holds its factors multiplied out.
        factors = {} if float(op.attrs.get("alpha", 1.0)) == 1.0 else {"alpha": 1.0}
        old = op.constant(2)
        if not bias_changed or kernel.bias is None:
            return constants, factors
        shape = (1, -1) if old is not None and old.ndim == 2 else (-1,)
        constants[2] = kernel.bias.reshape(shape)
        return constants, factors if float(op.attrs.get("beta", 1.0)) == 1.0 else {**factors, "beta": 1.0}


class _RightMatMul(Contraction):
    """X: `(…, K)` by a constant `(K, N)`. There is no bias, so only zeros fold."""

    def kernel(self, op: Op, maps: Maps) -> Kernel:
        weight, rank = op.constant(1), op.in_rank(0)
        if weight is None or rank is None:
            raise Refused(Reason.UNKNOWN_SHAPE, "rank of the activation is not known")
        matrix = _matrix(weight)
        if rank < max(2, weight.ndim):
            raise Refused(Reason.UNSUPPORTED_FORM, "activation of lower rank than the weight")
        return Kernel(matrix.T, None, 0, rank - 1, rank - 1, folds=False)

    def store(self, op: Op, kernel: Kernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        return {1: _restore(op.constant(1), kernel.weight.T)}, {}


class _LeftMatMul(Contraction):
    """A constant `(M, K)` by X: `(…, K, N)`."""

    def kernel(self, op: Op, maps: Maps) -> Kernel:
        weight, rank = op.constant(0), op.in_rank(1)
        if weight is None or rank is None:
            raise Refused(Reason.UNKNOWN_SHAPE, "rank of the activation is not known")
        if rank < max(2, weight.ndim):
            raise Refused(Reason.UNSUPPORTED_FORM, "activation of lower rank than the weight")
        return Kernel(_matrix(weight), None, 1, rank - 2, rank - 2, folds=False)

    def store(self, op: Op, kernel: Kernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        return {0: _restore(op.constant(0), kernel.weight)}, {}


def _matrix(weight: Array) -> Array:
    if weight.ndim < 2 or any(size != 1 for size in weight.shape[:-2]):
        raise Refused(Reason.UNSUPPORTED_FORM, f"weight of shape {weight.shape}")
    return weight.reshape(weight.shape[-2:])


def _restore(old: Array | None, matrix: Array) -> Array:
    leading = () if old is None else old.shape[:-2]
    return np.ascontiguousarray(matrix).reshape(*leading, *matrix.shape)


class MatMul:
    """Chooses by which side is constant; two activations are the attention contraction."""

    data_inputs: int | None = None

    def __init__(self) -> None:
        self._right, self._left, self._attend = _RightMatMul(), _LeftMatMul(), Attend()

    def _side(self, op: Op) -> Contraction | Attend:
        if op.constant(1) is not None:
            return self._right
        return self._attend if op.constant(0) is None else self._left

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        return self._side(op).flow(op, maps, fresh)

    def resize(self, op: Op, maps: Maps, emissions: Emissions, out: Maps, choose: Chooser) -> Resize:
        return self._side(op).resize(op, maps, emissions, out, choose)


register(Gemm(), "Gemm")
register(MatMul(), "MatMul")
