"""Which scales a bias gets: those of the weight beside it, so that a runtime can fuse the layer.

Any scale that expresses a value is right. But onnxruntime computes a layer in integers only where each scale of its
bias is the product of those of its input and of its weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from upscale_onnx.model.constants import MadeConstant
from upscale_onnx.model.quantiser import Quantiser
from upscale_onnx.types import IntArray

_WEIGHT, _BIAS = 1, 2


def scales_beside(constant: MadeConstant, stored: Mapping[int, Sequence[Quantiser]]) -> IntArray | None:
    """The indices of the scales that the weight beside a bias was given, one for each channel; None for others.

    stored: the quantisers behind each constant that is stored already, by the constant's id.
    """
    for reader in constant.outputs:
        if len(reader.inputs) <= _BIAS or reader.inputs[_BIAS] is not constant:
            continue
        weight = reader.inputs[_WEIGHT]
        if id(weight) not in stored:  # not cut
            return np.arange(constant.values.size)
        index = next((found.index for found in stored[id(weight)] if found.index is not None), None)
        return index if index is not None and index.size == constant.values.size else None
    return None
