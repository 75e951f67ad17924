"""Dense values for what a region reads: nothing that the model's own inputs leave asleep stays asleep."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from upscale_onnx.results import Claim
from upscale_onnx.types import Array

# Of a whole draw, one after the other; within one, channels and places differ by these powers of two too.
_SCALES = (1.0, 8.0, 0.125, 64.0, 0.015625, 1024.0)
_CHANNEL_POWERS = 3.0
_PLACE_POWERS = 2.0
# A twentieth of all places is larger still, to reach what only large values do.
_LARGE_FROM, _LARGE_POWER = 0.9, 10.0
_ZEROS = 1 / 16
_POSITIVE_ONE_IN = 4
# float16 ends at 65,504, and sums of a region must stay below.
_NARROW_LIMIT = 16.0
# Numbers that all values are cut from, at a place of their own each: drawing anew for each would take longest of all.
_POOL = 1 << 18
_STEP = 7919
PERTURBATION = 2.0**-8


@dataclass(frozen=True)
class Draw:
    """One set of values: `number` chooses the scale, `positive` that none is negative."""

    seed: int
    number: int
    positive: bool = False

    def value(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], claim: Claim | None) -> Array:
        """A value of the original network: dense, of both signs, with some zeros, its constant channels as claimed.

        The same name and shape always get the same values.
        """
        axes = _channel_axes(shape, claim)
        powers = self._cut(_powers, f"{name}:channels", tuple(n if a in axes else 1 for a, n in enumerate(shape)))
        spread = self._cut(_powers, f"{name}:places", tuple(1 if a in axes else n for a, n in enumerate(shape)))
        drawn = self._cut(_normal, name, shape)
        drawn *= np.exp2(_CHANNEL_POWERS * powers) * np.float32(_SCALES[self.number % len(_SCALES)])
        drawn *= np.exp2(np.where(spread > _LARGE_FROM, np.float32(_LARGE_POWER), _PLACE_POWERS * spread))
        if drawn.size == 1:  # a threshold may be at either side
            np.copysign(drawn, (-1) ** self.number, out=drawn)
        if self.positive or self._place(f"{name}:sign") % _POSITIVE_ONE_IN == 0:
            np.abs(drawn, out=drawn)
        if dtype.itemsize < 4:
            np.clip(drawn, -_NARROW_LIMIT, _NARROW_LIMIT, out=drawn)
        drawn = drawn.astype(dtype, copy=False)
        if claim is not None and claim.constants is not None:
            np.copyto(drawn, claim.constants.astype(dtype), where=np.isfinite(claim.constants))
        return drawn

    def junk(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Values for channels of which nothing is claimed."""
        return self._cut(_normal, f"{name}:junk", shape).astype(dtype, copy=False)

    def moved(self, name: str, value: Array, number: int) -> Array:
        """`value` with each entry moved by `PERTURBATION` of itself, up or down, otherwise for each `number`."""
        factors = self._cut(_factors, f"{name}:moved{number}", value.shape)
        factors *= value
        return factors.astype(value.dtype, copy=False)

    def _place(self, name: str) -> int:
        return zlib.crc32(f"{self.number}:{name}".encode())

    def _cut(self, pool_of: Callable[[int], Array], name: str, shape: tuple[int, ...]) -> Array:
        """A new array of numbers from a pool, from a place on that the name chooses."""
        pool, count = pool_of(self.seed), math.prod(shape)
        place = self._place(name) % pool.size
        if place + count <= pool.size:
            return pool[place : place + count].reshape(shape).copy()
        # A prime number of entries left out between rounds, so that no two rows of a large value are the same.
        starts = ((place + number * _STEP) % pool.size for number in range(count // pool.size + 1))
        return np.concatenate([np.roll(pool, -start) for start in starts])[:count].reshape(shape)


@cache
def _normal(seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(_POOL, np.float32) * (rng.random(_POOL, np.float32) >= _ZEROS)


@cache
def _powers(seed: int) -> Array:
    return np.random.default_rng([seed, 1]).random(_POOL, np.float32) * 2 - 1


@cache
def _factors(seed: int) -> Array:
    return 1 + np.sign(_powers(seed + 1)) * np.float32(PERTURBATION)


def _channel_axes(shape: tuple[int, ...], claim: Claim | None) -> frozenset[int]:
    if claim is not None and any(size > 1 for size in claim.sizes):
        return frozenset(axis for axis, size in enumerate(claim.sizes) if size > 1)
    return frozenset({min(1, len(shape) - 1)}) if shape else frozenset()
