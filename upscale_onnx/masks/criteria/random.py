"""Channels in random order: the baseline every criterion has to beat."""

from __future__ import annotations

import numpy as np

from upscale_onnx.types import Array, FloatArray


def score(weight: Array, axis: int, rng: np.random.Generator) -> FloatArray:
    """Uniform numbers in [0, 1) drawn from `rng`, one per slice of `weight` along `axis`.

    weight: any shape, its values are not read; returns (weight.shape[axis],).

    Source: Mittal et al., "Recovering from Random Pruning: On the Plasticity of Deep Convolutional Neural
    Networks", WACV 2018.
    """
    return rng.random((weight.shape[axis],))
