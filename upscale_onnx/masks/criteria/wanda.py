"""Wanda: weights times the norm of the activations that they multiply."""

from __future__ import annotations

import numpy as np

from upscale_onnx.masks.criteria import l1
from upscale_onnx.types import Array, FloatArray


def measure(maps: Array) -> FloatArray:
    """Sum over samples and positions of the squares of each channel; maps: (N, C, ...); returns (C,).

    Source: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", ICLR 2024, equation 1.
    """
    return np.asarray(np.square(maps.astype(np.float64)).reshape(*maps.shape[:2], -1).sum(axis=(0, 2)))


def score(weight: Array, axis: int, total: FloatArray, samples: int = 1) -> FloatArray:
    """Sum of |w| over each slice of `weight` along `axis`, times the norm of the channel's activations.

    total: (weight.shape[axis],), the sums of squares. The paper scores single weights; a channel is their sum.
    """
    del samples  # layers of one model see as many
    return np.asarray(l1.score(weight, axis, np.random.default_rng(0)) * np.sqrt(total))
