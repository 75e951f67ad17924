"""Dense random values for the inputs of a region, so that channels which the model's inputs leave asleep are awake."""

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

# The scales of whole draws, in turn. Within a draw, scales of channels and of places differ by up to these powers of 2.
_SCALES = (1.0, 8.0, 0.125, 64.0, 0.015625, 1024.0)
_CHANNEL_POWERS = 3.0
_PLACE_POWERS = 2.0
# A twentieth of all places is larger still, for channels that only large values wake.
_LARGE_FROM, _LARGE_POWER = 0.9, 10.0
_ZEROS = 1 / 16
_POSITIVE_ONE_IN = 4
# The largest float16 is 65,504, and the sums in a region must stay below it.
_NARROW_LIMIT = 16.0
# The size of the pool of random numbers. Each value is cut from another place of it, which is faster than drawing anew.
_POOL = 1 << 18
_STEP = 7919
PERTURBATION = 2.0**-8


@dataclass(frozen=True)
class Draw:
    """One set of random values. `number` chooses the scale; with `positive`, no value is negative."""

    seed: int
    number: int
    positive: bool = False

    def value(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], claim: Claim | None) -> Array:
        """Values of `shape` for a value of the original network: dense, of both signs, with some zeros. A boolean is
        true in every other draw.

        Channels that are claimed constant hold their constants. The same name and shape always get the same values.
        """
        if dtype.kind == "b":
            return np.full(shape, (zlib.crc32(name.encode()) + self.number) % 2 == 0)
        axes = _channel_axes(shape, claim)
        powers = self._cut(_powers, f"{name}:channels", tuple(n if a in axes else 1 for a, n in enumerate(shape)))
        spread = self._cut(_powers, f"{name}:places", tuple(1 if a in axes else n for a, n in enumerate(shape)))
        drawn = self._cut(_normal, name, shape)
        drawn *= np.exp2(_CHANNEL_POWERS * powers) * np.float32(_SCALES[self.number % len(_SCALES)])
        drawn *= np.exp2(np.where(spread > _LARGE_FROM, np.float32(_LARGE_POWER), _PLACE_POWERS * spread))
        if drawn.size == 1:  # both signs in turn, since the number may be compared with a threshold
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
        """Random values for channels that nothing is claimed about."""
        return self._cut(_normal, f"{name}:junk", shape).astype(dtype, copy=False)

    def moved(self, name: str, value: Array, number: int) -> Array:
        """`value` with each entry moved up or down by `PERTURBATION` of itself; each `number` gives other signs."""
        factors = self._cut(_factors, f"{name}:moved{number}", value.shape)
        factors *= value
        return factors.astype(value.dtype, copy=False)

    def _place(self, name: str) -> int:
        return zlib.crc32(f"{self.number}:{name}".encode())

    def _cut(self, pool_of: Callable[[int], Array], name: str, shape: tuple[int, ...]) -> Array:
        """A new array of numbers from a pool. The name chooses the place where they are cut."""
        pool, count = pool_of(self.seed), math.prod(shape)
        place = self._place(name) % pool.size
        if place + count <= pool.size:
            return pool[place : place + count].reshape(shape).copy()
        # Each round starts a prime number of entries later, so that no two rows of a large value are equal.
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
