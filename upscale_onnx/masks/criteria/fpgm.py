"""Filter pruning via geometric median: the channel nearest to all others can be replaced by them."""

from __future__ import annotations

import numpy as np

from upscale_onnx.types import Array, FloatArray


def score(weight: Array, axis: int, rng: np.random.Generator) -> FloatArray:
    """Sum of the Euclidean distances of every slice of `weight` along `axis` to all others.

    weight: any shape; returns (weight.shape[axis],), lowest for the channel nearest to the geometric median.
    `rng` is not used.

    Source: He et al., "Filter Pruning via Geometric Median for Deep Neural Networks Acceleration", CVPR 2019,
    equation 6.
    """
    del rng
    rows = np.moveaxis(weight.astype(np.float64), axis, 0).reshape(weight.shape[axis], -1)
    if not rows.shape[1]:
        return np.zeros(rows.shape[0])
    from scipy.spatial.distance import cdist  # slow to import, and needed here alone

    return np.asarray(cdist(rows, rows).sum(axis=1))
