"""ConstantOfShape where its shape is computed at run time: one number everywhere."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Rule
from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.errors import Reason
from upscale_onnx.model import Constant


class Filled(Rule):
    """The rule of a value that has no channels and whose content is known. What its shape is computed from is read
    whole."""

    data_inputs: int | None = 0

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        dims = op.out_dims[0]
        if dims is None:
            raise Refused(Reason.UNKNOWN_SHAPE, "the number of axes is not known")
        ones = (1,) * len(dims)
        return Flow((ChannelMap(fresh(1).reshape(ones), np.full(ones, _content(op))),))

    def resize(self, op: Op, request: Request) -> Resize:
        return Resize((full_emission(request.result.shape),))


def _content(op: Op) -> float:
    value = op.attrs.get("value")
    if value is None:
        return 0.0
    if not isinstance(value, Constant) or value.values.size != 1 or value.values.dtype.kind not in "fiu":
        return VARYING
    number = float(value.values.ravel()[0])
    return number if np.isfinite(number) else WILD


register(Filled(), "ConstantOfShape", since=9)
