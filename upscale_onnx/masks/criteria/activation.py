"""Criteria that see what channels hold over calibration data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array, FloatArray


def _mean(weight: Array, axis: int, total: FloatArray, samples: int) -> FloatArray:
    return total / max(samples, 1)


@dataclass(frozen=True)
class ActivationCriterion:
    """A criterion of activations: pass one as `criterion`, with calibration data.

    measure: from what the channels hold over a batch, (N, C, ...), a number for each channel, (C,), summed over
    samples; batches are added up. score: from (weight, axis, total, samples) one score per channel along `axis`;
    by default the mean over samples.
    """

    measure: Callable[[Array], FloatArray]
    score: Callable[[Array, int, FloatArray, int], FloatArray] = _mean

    def __call__(self, weight: Array, axis: int, rng: np.random.Generator) -> FloatArray:
        """Raises: ArgumentError always: weights alone have no activations."""
        raise ArgumentError("a criterion of activations needs calibration data: give a path as calibration")
