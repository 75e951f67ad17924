"""The numbers that a quantised weight can hold, and the nearest of them to other values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from upscale_onnx.model.quantiser import integer_range
from upscale_onnx.types import Array


@dataclass(frozen=True, eq=False)
class NumberGrid:
    """The numbers `(q - point) * scale` for `q` from `low` to `high`.

    scale, point: with size 1 along the axes that share them, else as large as the weight. dtype: that of `q`, integers
    or float8.
    """

    scale: Array
    point: Array
    dtype: np.dtype[Any]
    low: float
    high: float

    @classmethod
    def of(cls, scale: Array, point: Array | None, dtype: np.dtype[Any], axis: int, rank: int) -> NumberGrid:
        """The grid of a weight of `rank` axes. scale, point: one number, or a vector along `axis`."""
        low, high = integer_range(dtype) if "int" in dtype.name else _float_range(dtype)
        zero = np.zeros(1) if point is None else point.astype(np.float64)
        return cls(_along(scale, axis, rank), _along(zero, axis, rank), dtype, low, high)

    def widened(self, values: Array) -> NumberGrid:
        """The grid with a larger scale wherever `values` are out of its range."""
        steps, shared = values / self._divisor, tuple(at for at, size in enumerate(self.scale.shape) if size == 1)
        largest, least = (pick(steps, axis=shared, keepdims=True, initial=0) for pick in (np.max, np.min))
        above, below = self.high - self.point, self.low - self.point
        fits = (largest <= above + self._tolerance) & (least >= below - self._tolerance)
        growth = np.maximum(_ratio(largest, above), _ratio(least, below))
        scale = self._divisor * np.where(fits, 1, np.maximum(growth, 1))
        return replace(self, scale=scale.astype(self.scale.dtype))

    def stored(self, values: Array) -> Array:
        """The `q` of the nearest numbers to `values`."""
        steps = values / self._divisor + self.point
        nearest: Array = np.clip(np.rint(steps) if self._tolerance else steps, self.low, self.high).astype(self.dtype)
        return nearest

    def made(self, stored: Array) -> Array:
        """The numbers that the `q` in `stored` stand for, in float64."""
        found: Array = (stored.astype(np.float64) - self.point) * self.scale.astype(np.float64)
        return found

    def growth(self, before: NumberGrid) -> Array:
        """By how much each scale is larger than that of `before`, (scales,)."""
        return np.asarray(self._divisor / before._divisor).reshape(-1)

    @property
    def _tolerance(self) -> float:
        """How far, in steps, a value is rounded."""
        return 0.5 if "int" in self.dtype.name else 0.0

    @property
    def _divisor(self) -> Array:
        """The scales in float64, with 1 in place of 0."""
        wide = self.scale.astype(np.float64)
        return np.where(wide == 0, 1.0, wide)


def _along(vector: Array, axis: int, rank: int) -> Array:
    if vector.size == 1:
        return vector.reshape([1] * rank)
    return vector.reshape([-1 if at == axis % rank else 1 for at in range(rank)])


def _ratio(steps: Array, room: Array) -> Array:
    """How often `room` fits into `steps`; 0 without room."""
    return np.divide(steps, room, out=np.zeros(np.broadcast_shapes(steps.shape, room.shape)), where=room != 0)


def _float_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The least and the largest number of a type of one byte."""
    values = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float64)
    largest = float(values[np.isfinite(values)].max())
    return -largest, largest
