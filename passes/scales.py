"""Which scales a bias gets: those of the weight beside it, so that a runtime can fuse the layer.

Any scale that expresses a value is right. But onnxruntime computes a layer in integers only where each scale of its
bias is the product of those of its input and of its weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.model.constants import MadeConstant
from upscale_onnx.model.quantiser import Quantiser
from upscale_onnx.types import IntArray

_WEIGHT, _BIAS = 1, 2


def weight_beside(constant: MadeConstant) -> gs.Tensor | None:
    """The weight of the layer of which `constant` is the bias; None where it is none."""
    for reader in constant.outputs:
        if len(reader.inputs) > _BIAS and reader.inputs[_BIAS] is constant:
            return reader.inputs[_WEIGHT]
    return None


def scales_beside(constant: MadeConstant, stored: Mapping[int, Sequence[Quantiser]]) -> IntArray | None:
    """The indices of the scales that the weight beside a bias was given, one for each channel; None for others.

    stored: the quantisers behind each constant that is stored already, by the constant's id.
    """
    weight = weight_beside(constant)
    if weight is None:
        return None
    if id(weight) not in stored:  # not cut
        return np.arange(constant.values.size)
    index = scales_of(stored[id(weight)])
    return index if index is not None and index.size == constant.values.size else None


def scales_of(quantisers: Sequence[Quantiser]) -> IntArray | None:
    """The indices of the scales that a constant was given; None where it has one scale, or all in their order."""
    return next((found.index for found in quantisers if found.index is not None), None)
