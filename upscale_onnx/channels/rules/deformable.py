"""DeformConv: a convolution that samples its input at places which other inputs give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from upscale_onnx.channels.flow import Flow, Fresh, Maps, Read
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.contraction import Contraction
from upscale_onnx.channels.rules.kernel import DenseKernel
from upscale_onnx.errors import Reason
from upscale_onnx.model.contractions import WeightLayout, weight_layout
from upscale_onnx.types import Array

_BIAS = 3


class Deformable(Contraction):
    """The rule where all channels are sampled at the same places. Offsets and mask are read whole."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        flow = super().flow(op, maps, fresh)
        places = [(index, found) for index, found in enumerate(maps) if index and found is not None]
        reads = tuple(Read(index, found.labels.ravel()) for index, found in places)
        return replace(flow, reads=(*flow.reads, *reads), fixed=(*flow.fixed, *(found.labels for _, found in places)))

    def kernel(self, op: Op, maps: Maps) -> DenseKernel:
        weight, bias = op.constant(1), op.constant(_BIAS)
        if weight is None or op.is_dynamic(_BIAS):
            raise Refused(Reason.DYNAMIC_PARAMETER, "weight or bias is computed at run time")
        if int(op.attrs.get("offset_group", 1)) != 1:
            raise Refused(Reason.UNSUPPORTED_FORM, "groups of channels are sampled at different places")
        layout = _layout(op, weight.ndim)
        if layout.group < 1 or weight.shape[0] % layout.group:
            raise Refused(Reason.UNSUPPORTED_FORM, f"{weight.shape[0]} channels in {layout.group} groups")
        # Places outside of the image are zeros.
        return DenseKernel(layout.canonical(weight), bias, 0, 1, 1, layout.group, folds=False)

    def store(self, op: Op, kernel: DenseKernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        layout = replace(_layout(op, kernel.weight.ndim), group=kernel.group)
        constants = {1: layout.stored(kernel.weight)}
        if bias_changed and kernel.bias is not None:
            constants[_BIAS] = kernel.bias
        return constants, {} if kernel.group == op.attrs.get("group", 1) else {"group": kernel.group}


def _layout(op: Op, rank: int) -> WeightLayout:
    layout = weight_layout("Conv", op.attrs, rank)
    if layout is None:
        raise Refused(Reason.UNSUPPORTED_FORM, f"weight of rank {rank}")
    return layout


register(Deformable(), "DeformConv")
