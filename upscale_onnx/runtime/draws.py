"""Values for inputs, drawn in several ways: what one way leaves asleep in a network, another may wake."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np

from upscale_onnx.types import Array

_BLOCKS = ((32, 0.4), (8, 0.3), (2, 0.2), (1, 0.1))  # lengths, and how much of the values is the same along them
_HARMONICS, _PERIODIC = 12, 512  # of waves, and the window that their pitches are for
_SHORTEST_BLOCKED = 16  # axes below this length are channels more often than space or time


class Draw(Enum):
    """A way to draw values. The first ones differ most, so that few trials see much."""

    NORMAL = "normal"
    PIXELS = "pixels"  # 0 to 255, neighbours alike
    UNIT = "unit"  # 0 to 1
    WAVES = "waves"  # harmonics along the long axes, as in sounds, at a low level
    CHANNELS = "channels"  # each channel with a scale and a mean of its own
    BLOCKS = "blocks"  # both signs, neighbours alike
    WIDE = "wide"  # thirty times the normal ones
    NEGATIVE = "negative"  # none above zero, half of them zero
    SMALL = "small"  # close to one number


def floats(rng: np.random.Generator, draw: Draw, shape: tuple[int, ...]) -> Array:
    """Floating-point values of `shape`."""
    if draw is Draw.PIXELS:
        return np.asarray(np.floor(256 * _alike(rng, rng.random, shape)))
    if draw is Draw.UNIT:
        return np.asarray(rng.random(shape))
    if draw is Draw.WAVES:
        return _waves(rng, shape)
    if draw is Draw.CHANNELS:
        scales = _per_channel(shape)
        values = rng.standard_normal(shape) + rng.standard_normal(scales)
        return np.asarray(values * 10.0 ** rng.uniform(-1, 1, scales))
    if draw is Draw.BLOCKS:
        return 4 * _alike(rng, rng.random, shape) - 2
    normal = np.asarray(rng.standard_normal(shape))
    if draw is Draw.WIDE:
        return 30 * normal
    if draw is Draw.NEGATIVE:
        return 2 * np.minimum(normal, 0.0)
    if draw is Draw.SMALL:
        return 0.02 * normal + 0.1
    return normal


def integers(rng: np.random.Generator, draw: Draw, shape: tuple[int, ...], low: int, high: int) -> Array:
    """Whole numbers from `low` to `high`, both included: for UNIT only these two."""
    if draw in (Draw.PIXELS, Draw.BLOCKS):
        return np.floor(low + _alike(rng, rng.random, shape) * (float(high) - low + 1)).astype(np.int64)
    if draw is Draw.UNIT:
        return np.where(rng.random(shape) < 0.5, low, high)
    return np.asarray(rng.integers(low, high, shape, endpoint=True))


def booleans(rng: np.random.Generator, trial: int, shape: tuple[int, ...]) -> Array:
    """Truth values: even, mostly true and mostly false in turn; a single one is true in every other trial."""
    if not shape or shape == (1,):
        return np.full(shape, trial % 2 == 0)
    return np.asarray(rng.random(shape) < (0.5, 0.9, 0.1)[trial % 3])


def _alike(rng: np.random.Generator, draw: Any, shape: tuple[int, ...]) -> Array:
    """Values in [0, 1) that resemble their neighbours along long axes, at several distances, as pictures do."""
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
    """The shape of one value per channel: along the second axis, or along the last where that is the shorter."""
    if len(shape) < 2:
        return shape
    axis = 1 if shape[1] <= shape[-1] else len(shape) - 1
    return tuple(size if i == axis else 1 for i, size in enumerate(shape))
