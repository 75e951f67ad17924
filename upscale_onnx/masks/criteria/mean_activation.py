"""The mean magnitude of what a channel holds."""

from __future__ import annotations

import numpy as np

from upscale_onnx.types import Array, FloatArray


def measure(maps: Array) -> FloatArray:
    """Sum over samples of the mean magnitude of each channel; maps: (N, C, ...); returns (C,).

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017,
    section 2.2, on activations; there behind a ReLU, where the magnitude is the value.
    """
    return np.asarray(np.abs(maps.astype(np.float64)).reshape(*maps.shape[:2], -1).mean(axis=2).sum(axis=0))


def score(total: FloatArray, samples: int) -> FloatArray:
    """Mean magnitude, of the sum `total` over `samples` samples."""
    return total / max(samples, 1)
