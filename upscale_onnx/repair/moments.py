"""Matching the mean and variance that each output channel had before pruning."""

from __future__ import annotations

import numpy as np

from upscale_onnx.repair.fit import Sample, Tail
from upscale_onnx.types import Array, FloatArray

_MOST_GAIN = 10.0


def rescale(fit: Sample, held: Sample, tail: Tail, start: Array, alive: Array) -> Array:
    """The matrix (group, K, M) whose outputs have the mean and variance of the goal.

    This has the same effect as new statistics of a BatchNormalization, also if it was folded into the weights. What is
    left of an output follows the goal only in part; the rest is noise, which the full variance would amplify. So the
    gain may be shrunk by the correlation with the goal, or be one. For each output, that is taken which is nearest to
    the goal on `held`; if none is nearer, it keeps the values of `start`.

    Source: Li et al., "Revisiting Batch Normalization for Practical Domain Adaptation", 2016; Nagel et al.,
    "Data-Free Quantization through Weight Equalization and Bias Correction", ICCV 2019, section 4.2.
    """
    made = (fit.x @ start.astype(fit.x.dtype)).astype(np.float64)
    wanted = fit.wanted(tail).astype(np.float64)
    spread = made.std(axis=1)
    ratio = np.divide(wanted.std(axis=1), spread, out=np.ones_like(spread), where=spread > 0)
    best, least = start, held.error(start, tail)
    if not alive[:, -1].all():  # without a bias, the mean cannot be moved
        return best
    gains = np.ones_like(ratio), ratio, ratio * np.maximum(_correlation(made, wanted), 0.0)
    for gain in (np.clip(found, 1 / _MOST_GAIN, _MOST_GAIN) for found in gains):
        matrix = start * gain[:, None, :]
        matrix[:, -1] += wanted.mean(axis=1) - gain * made.mean(axis=1)
        error = held.error(matrix, tail)
        best = np.where((error < least)[:, None, :], matrix, best)
        least = np.minimum(error, least)
    return best


def _correlation(one: FloatArray, other: FloatArray) -> FloatArray:
    """That of each output, (group, M), of values (group, samples, M); 0 where one of them is constant."""
    apart = [values - values.mean(axis=1, keepdims=True) for values in (one, other)]
    scale = one.std(axis=1) * other.std(axis=1)
    covariance = (apart[0] * apart[1]).mean(axis=1)
    found: FloatArray = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    return found
