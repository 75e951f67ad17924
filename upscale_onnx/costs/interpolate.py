"""Interpolation of measured times: a fitted form, corrected by the measurements near the size asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy

from upscale_onnx.types import FloatArray

# Correction weights fall with this power of the distance, so that the nearest measurements decide.
_POWER = 3.0
_TOUCHING = 1e-6

Form = Callable[[FloatArray], FloatArray]


class Interpolation:
    """Times over sizes, exact at the measured ones.

    sizes: `(points, axes)`, positive. ms: `(points,)`, positive. prior: the milliseconds that an analytic model gives
    for sizes `(points, axes)`; it is used where there are too few points to fit a form.
    """

    def __init__(self, sizes: Sequence[Sequence[float]], ms: Sequence[float], prior: Form) -> None:
        self._sizes = np.asarray(sizes, np.float64)
        times = np.asarray(ms, np.float64)
        self._form = _fitted(self._sizes, times) or prior
        self._ratios = np.log(times / self._form(self._sizes))

    def __call__(self, *sizes: float) -> float:
        """The time in milliseconds at `sizes`, one per axis."""
        at = np.asarray([sizes], np.float64)
        return float(self._form(at)[0] * np.exp(self._correction(at[0])))

    def _correction(self, at: FloatArray) -> float:
        distance = np.sqrt((np.log(self._sizes / at) ** 2).sum(1))
        nearest = int(distance.argmin())
        if distance[nearest] < _TOUCHING:
            return float(self._ratios[nearest])
        weights = (distance[nearest] / distance) ** _POWER
        return float((weights * self._ratios).sum() / weights.sum())


def _fitted(sizes: FloatArray, ms: FloatArray) -> Form | None:
    """The form of least relative error that is linear in every axis, with non-negative terms."""
    columns = _terms(sizes)
    if len(ms) <= columns.shape[1]:
        return None
    scale = columns.max(0)
    found, _ = scipy.optimize.nnls(columns / scale / ms[:, None], np.ones(len(ms)))
    factors = found / scale
    if (columns @ factors <= 0).any() or not factors[1:].any():
        return None
    return lambda at: np.maximum(_terms(at) @ factors, 1e-9)


def _terms(sizes: FloatArray) -> FloatArray:
    ones = np.ones(len(sizes))
    if sizes.shape[1] == 1:
        return np.stack([ones, sizes[:, 0]], 1)
    return np.stack([ones, sizes[:, 0], sizes[:, 1], sizes[:, 0] * sizes[:, 1]], 1)
