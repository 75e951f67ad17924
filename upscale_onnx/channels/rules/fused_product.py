"""onnxruntime's FusedMatMul: a MatMul whose operands may be transposed, with a factor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Request, Resize, Rule
from upscale_onnx.channels.grid import coordinates
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.linear import MatMul
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import IntArray


class FusedMatMul(Rule):
    """The rule of a product of A and B, each transposed along its last two axes where `transA` and `transB` say so.
    With a constant operand it is the rule of MatMul, which knows the layout; for two activations their maps are
    transposed first."""

    data_inputs: int | None = None

    def __init__(self) -> None:
        self._product = MatMul()

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        return self._product.flow(_checked(op), _transposed_maps(op, maps), fresh)

    def resize(self, op: Op, request: Request) -> Resize:
        given = zip(request.maps, request.emissions, _swaps(op), strict=True)
        emissions = tuple(_transposed(found, emission, swap) for found, emission, swap in given)
        standard = replace(request, maps=_transposed_maps(op, request.maps), emissions=emissions)
        resized = self._product.resize(_checked(op), standard)
        if resized.computed and _swaps(op)[0]:
            raise Misaligned(*(found.labels for found in request.maps if found is not None))
        return resized


def _checked(op: Op) -> Op:
    if op.attrs.get("transBatchA", 0) or op.attrs.get("transBatchB", 0):
        raise Refused(Reason.UNSUPPORTED_FORM, "batch axes are transposed")
    if not np.isfinite(float(op.attrs.get("alpha", 1.0))):
        raise Refused(Reason.UNSUPPORTED_FORM, "the factor is not finite")
    return op if op.op_type == "FusedMatMul" else replace(op, op_type="FusedMatMul")  # its former name


def _swaps(op: Op) -> tuple[bool, bool]:
    """Which of two activations are transposed."""
    if op.is_constant(0) or op.is_constant(1):
        return False, False
    return bool(op.attrs.get("transA", 0)), bool(op.attrs.get("transB", 0))


def _transposed_maps(op: Op, maps: Maps) -> Maps:
    return tuple(_transposed_map(found, swap) for found, swap in zip(maps, _swaps(op), strict=True))


def _transposed_map(found: ChannelMap | None, swap: bool) -> ChannelMap | None:
    if found is None or not swap:
        return found
    if found.rank < 2:
        raise Refused(Reason.UNSUPPORTED_FORM, "a transposed operand of rank 1")
    return ChannelMap(found.labels.swapaxes(-1, -2), found.state.swapaxes(-1, -2))


def _transposed(found: ChannelMap | None, emission: IntArray | None, swap: bool) -> IntArray | None:
    """The emission of the transposed operand, whose positions count along its own axes."""
    if found is None or emission is None or not swap:
        return emission
    where = [c.swapaxes(-1, -2) for c in coordinates(emission, found.shape)]
    shape = (*found.shape[:-2], found.shape[-1], found.shape[-2])
    return np.asarray(np.ravel_multi_index((*where[:-2], where[-1], where[-2]), shape), np.int64)


register(FusedMatMul(), "FusedMatMul", "TransposeMatMul", domain=RUNTIME_DOMAIN)
