"""The sum of the absolute weights of each channel."""

from __future__ import annotations

import numpy as np

from upscale_onnx.types import Array, FloatArray


def score(weight: Array, axis: int, rng: np.random.Generator) -> FloatArray:
    """L1 norm of every slice of `weight` along `axis`.

    weight: any shape; returns (weight.shape[axis],). `rng` is not used. A channel that holds a NaN scores NaN.

    Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.1 (there on filters,
    which is the output side).
    """
    del rng
    magnitudes = np.abs(weight.astype(np.float64))
    return np.asarray(magnitudes.sum(axis=_others(weight.ndim, axis)))


def _others(ndim: int, axis: int) -> tuple[int, ...]:
    return tuple(i for i in range(ndim) if i != axis % ndim)
