"""APoZ: how often a channel is zero behind its activation."""

from __future__ import annotations

import numpy as np

from upscale_onnx.types import Array, FloatArray


def measure(maps: Array) -> FloatArray:
    """Sum over samples of the share of each channel's positions that are not zero; maps: (N, C, ...); returns (C,).

    Source: Hu et al., "Network Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep
    Architectures", 2016, equation 1, of which this is the complement: the channels with most zeros score lowest.
    """
    return np.asarray((maps != 0).reshape(*maps.shape[:2], -1).mean(axis=2).sum(axis=0))


def score(total: FloatArray, samples: int) -> FloatArray:
    """Share of positions that are not zero, of the sum `total` over `samples` samples."""
    return total / max(samples, 1)
