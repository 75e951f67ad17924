"""Conv and ConvTranspose, 1-D to n-D, any group count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.band import band_flow, band_resize, slides_over
from upscale_onnx.channels.rules.contraction import Contraction
from upscale_onnx.channels.rules.kernel import DenseKernel
from upscale_onnx.errors import Reason
from upscale_onnx.model.contractions import WeightLayout, weight_layout
from upscale_onnx.types import Array


class Conv(Contraction):
    """The rule where the weight is constant. The bias, if there is one, is a constant of shape `(C_out,)`."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = maps[0]
        if found is not None and slides_over(op, found):
            return band_flow(op, found, fresh)
        return super().flow(op, maps, fresh)

    def resize(self, op: Op, request: Request) -> Resize:
        found = request.maps[0]
        if found is not None and slides_over(op, found):
            return band_resize(op, request)
        return super().resize(op, request)

    def kernel(self, op: Op, maps: Maps) -> DenseKernel:
        weight, bias = op.constant(1), op.constant(2)
        if weight is None or op.is_dynamic(2):
            raise Refused(Reason.DYNAMIC_PARAMETER, "weight or bias is computed at run time")
        layout = _layout(op, weight.ndim)
        if layout.group < 1 or weight.shape[0] % layout.group:
            raise Refused(Reason.UNSUPPORTED_FORM, f"{weight.shape[0]} channels in {layout.group} groups")
        # Windows of a ConvTranspose overlap unevenly, so only zero channels fold into the bias.
        folds = op.op_type == "Conv" and not is_padded(op)
        return DenseKernel(layout.canonical(weight), bias, 0, 1, 1, layout.group, folds)

    def store(self, op: Op, kernel: DenseKernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        layout = replace(_layout(op, kernel.weight.ndim), group=kernel.group)
        constants = {1: layout.stored(kernel.weight)}
        if bias_changed and kernel.bias is not None:
            constants[2] = kernel.bias
        return constants, {} if kernel.group == op.attrs.get("group", 1) else {"group": kernel.group}


def is_padded(op: Op) -> bool:
    """Whether the attributes of a node ask for padding."""
    return any(op.attrs.get("pads", ())) or op.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")


def _layout(op: Op, rank: int) -> WeightLayout:
    layout = weight_layout(op.op_type, op.attrs, rank)
    if layout is None:
        raise Refused(Reason.UNSUPPORTED_FORM, f"weight of rank {rank}")
    return layout


register(Conv(), "Conv", "ConvTranspose")
