"""The Euclidean norm of the weights of each channel."""

from __future__ import annotations

import numpy as np

from upscale_onnx.types import Array, FloatArray


def score(weight: Array, axis: int, rng: np.random.Generator) -> FloatArray:
    """L2 norm of every slice of `weight` along `axis`.

    weight: any shape; returns (weight.shape[axis],). `rng` is not used. A channel that holds a NaN scores NaN.

    Source: He et al., "Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks", IJCAI 2018,
    the filter selection step with p = 2 (there on filters, which is the output side).
    """
    del rng
    rows = np.moveaxis(weight.astype(np.float64), axis, 0).reshape(weight.shape[axis], -1)
    # Squares of the largest doubles overflow; scaling by each row's peak keeps their order.
    peak = np.abs(rows).max(axis=1, initial=0.0)
    scale = np.where((peak > 0) & np.isfinite(peak), peak, 1.0)
    with np.errstate(under="ignore", over="ignore"):
        return np.asarray(scale * np.sqrt(np.square(rows / scale[:, None]).sum(axis=1)))
