"""ConstantOfShape where its shape is computed at run time: one number everywhere."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, Wild
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Rule
from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.infinities import wild_of_constant
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
        content, wild = _content(op)
        return Flow((ChannelMap(fresh(1).reshape(ones), np.full(ones, content), wild=wild),))

    def resize(self, op: Op, request: Request) -> Resize:
        return Resize((full_emission(request.result.shape),))


def _content(op: Op) -> tuple[float, Wild]:
    """What the value holds, and what it may hold if it is not finite."""
    value = op.attrs.get("value")
    if value is None:
        return 0.0, Wild.ANYTHING
    if not isinstance(value, Constant) or value.values.size != 1 or value.values.dtype.kind not in "fiu":
        return VARYING, Wild.ANYTHING
    number = float(value.values.ravel()[0])
    return (number if np.isfinite(number) else WILD), wild_of_constant(value.values.reshape(())) or Wild.ANYTHING


register(Filled(), "ConstantOfShape", since=9)
