"""What the layers of a masked model keep."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.options import Side
from upscale_onnx.results import KeptChannels


def kept_channels(model: onnx.ModelProto, side: Side) -> tuple[KeptChannels, ...]:
    """How many channels of `side` the weights use that an amount applies to, in graph order: those in which they
    hold anything but zeros."""
    tensors = constant_tensors(model)
    found = []
    for target in prunable_targets(model, side):
        axis = target.axis(side)
        weight = numpy_helper.to_array(tensors[target.weight])
        others = tuple(number for number in range(weight.ndim) if number != axis)
        kept = int(np.count_nonzero((weight != 0).any(axis=others)))
        channels = target.channels(side)
        found.append(KeptChannels(target.weight, target.node, channels, kept, kept / channels))
    return tuple(found)
