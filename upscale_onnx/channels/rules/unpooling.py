"""MaxUnpool: puts each value at the place where a MaxPool found it.

Places are counted over all axes of the value that was pooled. A channel that leaves in front of the MaxPool makes the
places of all channels behind it smaller, in the same way in which the result of the MaxUnpool becomes smaller.
"""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Request, Resize, Rule
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.run_time_sizes import overwritten
from upscale_onnx.errors import Reason

_PLACES, _SHAPE = 1, 2


class MaxUnpool(Rule):
    """X and the places: `(N, C, …)`. The result is as large as what was pooled, so that no channel reaches another."""

    data_inputs: int | None = 2
    places = True

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found, where = known_map(maps[0]), maps[_PLACES]
        if where is None or where.places is None:
            raise Refused(Reason.DYNAMIC_PARAMETER, "the places are not those of a MaxPool")
        if found.shape != where.shape or any(axis != 1 for axis in found.axes):
            raise Refused(Reason.MIXED_LAYOUT, "values and places have other channels")
        made = op.shape_values[_SHAPE] if op.has(_SHAPE) else op.out_dims[0]
        if made is None or None in where.places or made[2:] != where.places:
            raise Refused(Reason.UNKNOWN_SHAPE, "the result is not known to be as large as what was pooled")
        if found.axes and made[1] != found.shape[1]:
            raise Refused(Reason.MIXED_LAYOUT, "the result has another number of channels")
        state = np.where(found.state == 0, 0.0, VARYING)
        wild = is_wild(found.state) | is_wild(where.state)
        out = ChannelMap(found.labels, np.where(wild, WILD, state))
        return Flow((out,), ties=((found.labels, where.labels),))

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        where = request.emissions[_PLACES]
        if where is None or not np.array_equal(where, emission):
            raise Misaligned(found.labels)
        if is_full(emission, found.shape) or not op.has(_SHAPE):
            return Resize((emission,))
        shape = op.constant(_SHAPE)
        if shape is None:
            sizes = [emission.size if axis == 1 else None for axis in range(found.rank)]
            return Resize((emission,), computed={_SHAPE: overwritten(op, _SHAPE, sizes)})
        return Resize((emission,), {_SHAPE: np.asarray([shape[0], emission.size, *shape[2:]], shape.dtype)})


register(MaxUnpool(), "MaxUnpool", since=9)
