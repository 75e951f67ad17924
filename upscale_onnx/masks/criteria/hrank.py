"""HRank: how much information the feature maps of a channel hold, by their rank."""

from __future__ import annotations

import numpy as np

from upscale_onnx.types import Array, FloatArray


def measure(maps: Array) -> FloatArray:
    """Sum over samples of the rank of each channel's feature map.

    maps: (N, C, H, W); channels without two spatial axes are taken as one row, of rank 0 or 1. Returns (C,).

    Source: Lin et al., "HRank: Filter Pruning using High-Rank Feature Map", CVPR 2020, equation 4.
    """
    samples, channels = maps.shape[:2]
    flat = maps if maps.ndim >= 3 else maps[..., None]
    shape = (samples, channels, int(np.prod(flat.shape[2:-1])), flat.shape[-1])
    return np.asarray(np.linalg.matrix_rank(flat.reshape(shape).astype(np.float64)).sum(axis=0), np.float64)


def score(total: FloatArray, samples: int) -> FloatArray:
    """Mean rank of each channel, of the sum `total` over `samples` samples."""
    return total / max(samples, 1)
