"""What constants become in quantised results: known where all kernels round them to the same step."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, is_constant, is_wild
from upscale_onnx.types import Array, FloatArray

# Kernels compute in single precision. That near to the middle of two steps, they may round to either of them.
_DOUBT = 1 / 64


def at_zero(level: FloatArray | float, sums: FloatArray) -> FloatArray:
    """The contents of a result that is `level` where sums are zero, and not followed where they are anything else."""
    return np.where(sums == 0, level, np.where(is_wild(sums), WILD, VARYING))


def rounded(values: FloatArray, scale: Array, point: Array) -> FloatArray:
    """The contents of a quantised result, from those before it is quantised. scale, point: broadcast to them; the type
    of `point` is that of the result."""
    known, limits = is_constant(values), np.iinfo(point.dtype)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        steps = np.where(known, values, 0.0) / scale.astype(np.float64) + point
    exact = np.clip(np.where(np.isfinite(steps), steps, 0.5), limits.min, limits.max)
    doubtful = np.abs(exact - np.floor(exact) - 0.5) < _DOUBT
    found = np.where(doubtful, VARYING, np.rint(exact))
    return np.where(known, found, np.where(is_wild(values), WILD, VARYING))
