"""Families of profiles: random ones, and profiles scaled until the candidate has a given size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.candidates.space import Space
from upscale_onnx.masks.decisions import Decision

# The bounds of random shares, as in the source.
LEAST, MOST = 0.3, 0.9
_GUESSES, _HALVINGS, _MOST_POWER = 6, 12, 64.0


def random_shares(count: int, rng: np.random.Generator) -> tuple[float, ...]:
    """`count` shares, each drawn from U(0.3, 0.9).

    Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, section 3.
    """
    return tuple(rng.uniform(LEAST, MOST, count).tolist())


def shares_of(ratios: Mapping[str, float], decisions: Sequence[Decision]) -> tuple[float, ...]:
    """The share of each decision, of ratios by weight."""
    return tuple(float(ratios[one.weights[0]]) for one in decisions)


def at_compression(
    space: Space,
    shares: Sequence[float],
    factor: float,
    tolerance: float = 0.1,
    enough: float = 0.02,
    *,
    choice: Choice = "scores",
    seed: int = 0,
) -> Candidate | None:
    """The candidate whose compression is `factor`, with all `shares` raised to one power: their order, and the layers
    that keep everything, stay. None where there is none.

    The first one within `enough` (a share of the factor) is taken; where no power comes that close, as with layers of
    few channels, the nearest within `tolerance`. It is not repaired, as what is repaired is as large. choice, seed: as
    `Space.masks` has them.
    """
    bare, logs = space.unrepaired, np.log(np.clip(shares, 1e-3, 1.0))
    low, high = 1.0 / _MOST_POWER, _MOST_POWER
    power, nearest, off = 1.0, None, tolerance
    for step in range(_GUESSES + _HALVINGS):
        found = bare.candidate(np.exp(logs * power).tolist(), choice, seed)
        distance = abs(found.compression / factor - 1.0)
        if distance <= off:
            nearest, off = found, distance
        if distance <= enough:
            break
        low, high = (power, high) if found.compression < factor else (low, power)
        # Compressions grow about exponentially with the power, from 1 at 0.
        can_guess = step < _GUESSES and min(found.compression, factor) > 1.0
        guess = power * math.log(factor) / math.log(found.compression) if can_guess else low
        power = guess if low < guess < high else math.sqrt(low * high)
    return nearest
