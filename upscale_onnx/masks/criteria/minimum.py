"""The smallest magnitude among the weights of each channel."""

from __future__ import annotations

import numpy as np

from upscale_onnx.types import Array, FloatArray


def score(weight: Array, axis: int, rng: np.random.Generator) -> FloatArray:
    """Smallest absolute value in every slice of `weight` along `axis`.

    weight: any shape; returns (weight.shape[axis],), 0 for a slice without elements. `rng` is not used.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017,
    section 2.2, on the minimum weight; on magnitudes, so that the sign of a weight does not matter.
    """
    del rng
    rows = np.moveaxis(np.abs(weight.astype(np.float64)), axis, 0).reshape(weight.shape[axis], -1)
    return np.asarray(rows.min(axis=1)) if rows.shape[1] else np.zeros(rows.shape[0])
