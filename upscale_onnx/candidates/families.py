"""Families of profiles: random ones, and profiles scaled until the candidate has a given size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.candidates.space import Space
from upscale_onnx.masks.decisions import Decision

# The bounds of random shares, as in the source.
LEAST, MOST = 0.3, 0.9
_HALVINGS, _MOST_POWER = 12, 64.0


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
    made: Callable[[Sequence[float]], Candidate] | None = None,
) -> Candidate | None:
    """The candidate whose compression is within `tolerance` (a share) of `factor`, with all `shares` raised to one
    power: their order, and the layers that keep everything, stay. None where there is none.

    made: makes candidates, in place of `space.candidate`.
    """
    make, logs = made or space.candidate, np.log(np.clip(shares, 1e-3, 1.0))
    low, high = 1.0 / _MOST_POWER, _MOST_POWER  # so that they are tried as they are first
    for _ in range(_HALVINGS):
        power = float(np.sqrt(low * high))
        found = make(np.exp(logs * power).tolist())
        if abs(found.compression / factor - 1.0) <= tolerance:
            return found
        low, high = (power, high) if found.compression < factor else (low, power)
    return None
