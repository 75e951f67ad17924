"""Conv and ConvTranspose, 1-D to n-D, any group count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from upscale_onnx.channels.flow import Maps
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.contraction import Contraction
from upscale_onnx.channels.rules.kernel import Kernel
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array


def _parameters(op: Op) -> tuple[Array, Array | None, int]:
    weight, bias = op.constant(1), op.constant(2)
    if weight is None or op.is_dynamic(2):
        raise Refused(Reason.DYNAMIC_PARAMETER, "weight or bias is computed at run time")
    if weight.ndim < 3:
        raise Refused(Reason.UNSUPPORTED_FORM, f"weight of rank {weight.ndim}")
    return weight, bias, int(op.attrs.get("group", 1))


class Conv(Contraction):
    """W: `(C_out, C_in/group, k…)`, B: `(C_out,)`."""

    def kernel(self, op: Op, maps: Maps) -> Kernel:
        weight, bias, group = _parameters(op)
        if group < 1 or weight.shape[0] % group:
            raise Refused(Reason.UNSUPPORTED_FORM, f"{weight.shape[0]} output channels in {group} groups")
        auto_pad = op.attrs.get("auto_pad", "NOTSET")
        padded = any(op.attrs.get("pads", ())) or auto_pad not in ("NOTSET", "VALID")
        return Kernel(weight, bias, 0, 1, 1, group, folds=not padded)

    def store(self, op: Op, kernel: Kernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        constants = {1: kernel.weight}
        if bias_changed and kernel.bias is not None:
            constants[2] = kernel.bias
        return constants, {} if kernel.group == op.attrs.get("group", 1) else {"group": kernel.group}


class ConvTranspose(Conv):
    """W: `(C_in, C_out/group, k…)`. Windows overlap unevenly, so only zeros fold."""

    def kernel(self, op: Op, maps: Maps) -> Kernel:
        weight, bias, group = _parameters(op)
        if group < 1 or weight.shape[0] % group:
            raise Refused(Reason.UNSUPPORTED_FORM, f"{weight.shape[0]} input channels in {group} groups")
        return Kernel(_swap(weight, group), bias, 0, 1, 1, group, folds=False)

    def store(self, op: Op, kernel: Kernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        return super().store(op, replace(kernel, weight=_swap(kernel.weight, kernel.group)), bias_changed)


def _swap(weight: Array, group: int) -> Array:
    """Exchange a grouped weight's input and output axes: `(g·a, b, …)` becomes `(g·b, a, …)`."""
    first, second, window = weight.shape[0] // group, weight.shape[1], weight.shape[2:]
    swapped = weight.reshape(group, first, second, *window).swapaxes(1, 2)
    return np.ascontiguousarray(swapped.reshape(group * second, first, *window))


register(Conv(), "Conv")
register(ConvTranspose(), "ConvTranspose")
