"""Random values for inputs, drawn in several ways. A channel that sleeps with one way may be awake with another."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np

from upscale_onnx.types import Array

_BLOCKS = ((32, 0.4), (8, 0.3), (2, 0.2), (1, 0.1))  # length of a block, and the share of a value that is equal in it
_HARMONICS, _PERIODIC = 12, 512  # of waves: the number of harmonics, and the window in samples that sets the pitch
_SHORTEST_BLOCKED = 16  # axes below this length are channels more often than space or time


class Drawing(Enum):
    """A way to draw values. The first ways differ most, so that a few trials already see much."""

    NORMAL = "normal"
    PIXELS = "pixels"  # 0 to 255, neighbours alike
    UNIT = "unit"  # 0 to 1
    WAVES = "waves"  # harmonics along the long axes, as in sounds, at a low level
    CHANNELS = "channels"  # each channel with a scale and a mean of its own
    BLOCKS = "blocks"  # both signs, neighbours alike
    WIDE = "wide"  # thirty times as large as the normal ones
    NEGATIVE = "negative"  # no value above zero, half of them zero
    SMALL = "small"  # all close to 0.1


def floats(rng: np.random.Generator, draw: Drawing, shape: tuple[int, ...]) -> Array:
    """Random floating-point values of `shape`, in float64."""
    if draw is Drawing.PIXELS:
        return np.asarray(np.floor(256 * _alike(rng, rng.random, shape)))
    if draw is Drawing.UNIT:
        return np.asarray(rng.random(shape))
    if draw is Drawing.WAVES:
        return _waves(rng, shape)
    if draw is Drawing.CHANNELS:
        scales = _per_channel(shape)
        values = rng.standard_normal(shape) + rng.standard_normal(scales)
        return np.asarray(values * 10.0 ** rng.uniform(-1, 1, scales))
    if draw is Drawing.BLOCKS:
        return 4 * _alike(rng, rng.random, shape) - 2
    normal = np.asarray(rng.standard_normal(shape))
    if draw is Drawing.WIDE:
        return 30 * normal
    if draw is Drawing.NEGATIVE:
        return 2 * np.minimum(normal, 0.0)
    if draw is Drawing.SMALL:
        return 0.02 * normal + 0.1
    return normal


def integers(rng: np.random.Generator, draw: Drawing, shape: tuple[int, ...], low: int, high: int) -> Array:
    """Random integers of `shape` from `low` to `high`, both included; for UNIT only these two numbers."""
    if draw in (Drawing.PIXELS, Drawing.BLOCKS):
        return np.floor(low + _alike(rng, rng.random, shape) * (float(high) - low + 1)).astype(np.int64)
    if draw is Drawing.UNIT:
        return np.where(rng.random(shape) < 0.5, low, high)
    return np.asarray(rng.integers(low, high, shape, endpoint=True))


def booleans(rng: np.random.Generator, trial: int, shape: tuple[int, ...]) -> Array:
    """Random booleans of `shape`: in turn 50, 90 and 10 % of them are true. A single one is true in even trials."""
    if not shape or shape == (1,):
        return np.full(shape, trial % 2 == 0)
    return np.asarray(rng.random(shape) < (0.5, 0.9, 0.1)[trial % 3])


def _alike(rng: np.random.Generator, draw: Any, shape: tuple[int, ...]) -> Array:
    """Values in [0, 1) that resemble their neighbours along long axes, at several scales, as in images."""
    total: Array = np.zeros(shape)
    for block, share in _BLOCKS:
        repeats = [block if size >= _SHORTEST_BLOCKED else 1 for size in shape]
        coarse = np.asarray(draw([-(-size // repeat) for size, repeat in zip(shape, repeats, strict=True)]))
        for axis, repeat in enumerate(repeats):
            coarse = np.repeat(coarse, repeat, axis) if repeat > 1 else coarse
        total += share * coarse[tuple(slice(size) for size in shape)]
    return total


def _waves(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Harmonics of a random pitch and phase along every long axis, and a little noise."""
    total = 0.001 * rng.standard_normal(shape)
    for axis, size in enumerate(shape):
        if size < _SHORTEST_BLOCKED:
            continue
        turns = 2 * np.pi * rng.uniform(2, 12) * np.arange(size) / min(size, _PERIODIC)
        wave = sum(np.sin(k * turns + rng.uniform(0, 2 * np.pi)) / k for k in range(1, _HARMONICS))
        total = total + 0.01 * np.reshape(wave, [size if i == axis else 1 for i in range(len(shape))])
    return np.asarray(total)


def _per_channel(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with size 1 on all axes but that of the channels: the second or the last one, whichever is shorter."""
    if len(shape) < 2:
        return shape
    axis = 1 if shape[1] <= shape[-1] else len(shape) - 1
    return tuple(size if i == axis else 1 for i, size in enumerate(shape))
