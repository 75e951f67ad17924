"""Network slimming: the scale that a BatchNormalization gives to a channel."""

from __future__ import annotations

import numpy as np

from upscale_onnx.types import Array, FloatArray


def score(scale: Array) -> FloatArray:
    """Magnitude of each channel's scale; scale: (C,).

    Source: Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017, section 3.
    """
    return np.abs(scale.astype(np.float64))
