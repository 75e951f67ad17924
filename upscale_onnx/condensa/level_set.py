"""The search for where a falling function crosses zero, by a Gaussian process.

The function costs a training at each point, and is noisy. So its values are modelled by a Gaussian process, and the
next point is the one where the sign is least certain: 1.96 sigma - |mu| is largest there (the straddle rule). As the
function falls, only points between the last one above zero and the first one below are candidates; and the middle half
of them, so that each point narrows the range by a quarter at least, however wrong the model is. A process of one input
and ten points is a few lines of linear algebra: it needs no library, and no random start.

Source: Bryan et al., "Active Learning for Identifying Function Threshold Boundaries", NeurIPS 2005, for the rule;
Joseph et al., "A Programmable Approach to Model Compression", 2019, for a search of sparsities on a restricted domain.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from upscale_onnx.types import FloatArray

_LENGTHS, _NOISES = (0.1, 0.2, 0.4, 0.8), (1e-6, 1e-3, 1e-2)
_CANDIDATES = 51
_CONFIDENCE = 1.96


def crossing(
    function: Callable[[float], float], ends: tuple[float, float], samples: int, tolerance: float
) -> float | None:
    """The largest x in (0, 1) of all that were tried at which `function` was 0 or more, None if there was none.

    ends: the function's values at 0 and at 1, which are not tried. samples: the most that are tried. tolerance: the
    search ends when the crossing is known this well.
    """
    tried = {0.0: ends[0], 1.0: ends[1]}
    low, high = 0.0, 1.0
    for _ in range(samples):
        if high - low <= tolerance:
            break
        x = _next(tried, low, high)
        tried[x] = function(x)
        low, high = (x, high) if tried[x] >= 0 else (low, x)
    return low or None


def _next(tried: dict[float, float], low: float, high: float) -> float:
    """The candidate where the sign is least certain."""
    candidates = np.linspace(low + (high - low) / 4, high - (high - low) / 4, _CANDIDATES)
    x, y = np.array(list(tried)), np.array(list(tried.values()))
    mean, deviation = posterior(x, y, candidates)
    return round(float(candidates[np.argmax(_CONFIDENCE * deviation - np.abs(mean))]), 4)


def posterior(x: FloatArray, y: FloatArray, places: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation at `places` of a Gaussian process through the values `y` at `x`.

    The kernel is the squared exponential. Its length and the noise are those of highest likelihood among a few.

    Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, algorithm 2.1.
    """
    centre, scale = y.mean(), y.std() or 1.0
    values = (y - centre) / scale
    length, noise = max(product(_LENGTHS, _NOISES), key=lambda pair: _likelihood(x, values, *pair))
    across = _kernel(places, x, length)
    inverse = np.linalg.inv(_kernel(x, x, length) + noise * np.eye(x.size))
    variance = 1.0 - np.einsum("ij,jk,ik->i", across, inverse, across)
    return centre + scale * (across @ inverse @ values), scale * np.sqrt(np.maximum(variance, 0.0))


def _kernel(a: FloatArray, b: FloatArray, length: float) -> FloatArray:
    return np.asarray(np.exp(-0.5 * np.square((a[:, None] - b) / length)))


def _likelihood(x: FloatArray, values: FloatArray, length: float, noise: float) -> float:
    """The logarithm of the likelihood, without a constant."""
    kernel = _kernel(x, x, length) + noise * np.eye(x.size)
    return float(-0.5 * values @ np.linalg.solve(kernel, values) - 0.5 * np.linalg.slogdet(kernel)[1])
