"""CastLike: a Cast to the type of another value, of which no channel is read.

Functions of ONNX that are written out cast their constants in this way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import WILD, ChannelMap
from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.contents import constant_content
from upscale_onnx.channels.rules.elementwise import Elementwise
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array

_CAST = Elementwise(1)


class _CastLike(Rule):
    data_inputs: int | None = None
    merged_axes = True

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        if not (len(op.dtypes) > 1 and op.dtypes[1]):
            raise Refused(Reason.UNKNOWN_SHAPE, "the type of a value is not known")
        array = op.constant(0)
        return _CAST.flow(_cast(op), maps[:1], fresh) if array is None else _of_constant(op, array, fresh)

    def resize(self, op: Op, request: Request) -> Resize:
        if op.is_constant(0):
            return Resize((full_emission(request.result.shape),))
        return _CAST.resize(_cast(op), replace(request, maps=request.maps[:1], emissions=request.emissions[:1]))


def _of_constant(op: Op, array: Array, fresh: Fresh) -> Flow:
    """The flow of a constant: its channels are not told apart."""
    made = evaluate("Cast", op.onnx_opset, {"to": op.dtypes[1]}, [array])
    ones = (1,) * array.ndim
    state = None if made is None else constant_content(made[0], ones)
    found = ChannelMap(fresh(1).reshape(ones), np.full(ones, WILD) if state is None else state)
    return Flow((found,), role=Role.POINTWISE)


def _cast(op: Op) -> Op:
    """The node as a Cast."""
    first = {
        name: getattr(op, name)[:1]
        for name in ("inputs", "known", "present", "in_dims", "shape_values", "dtypes", "blocks")
    }
    return replace(op, op_type="Cast", attrs={"to": op.dtypes[1]}, constants=(op.constant(0),), **first)


register(_CastLike(), "CastLike")
