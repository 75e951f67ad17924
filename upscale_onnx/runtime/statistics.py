"""Ratios of repeated measurements, with their confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 2000
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Ratio:
    """A ratio and the bounds of its 95 % confidence interval."""

    value: float
    low: float
    high: float


def median_ratio(own: Sequence[float], reference: Sequence[float], *, seed: int = 0) -> Ratio:
    """The median over rounds of `own` divided by `reference`, with its bootstrap confidence interval.

    Both hold one time per round. Rounds are resampled in pairs: a disturbance affects both times of a round, so it
    cancels in their ratio.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3 (percentile interval).

    Raises:
        ValueError: the two have different lengths, or are empty.
    """
    if len(own) != len(reference) or not own:
        raise ValueError(f"{len(own)} measurements cannot be paired with {len(reference)}")
    ratios = np.asarray(own, np.float64) / np.asarray(reference, np.float64)
    picks = np.random.default_rng(seed).integers(0, ratios.size, (_RESAMPLES, ratios.size))
    medians = np.median(ratios[picks], axis=1)
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(medians, (tail, 1 - tail))
    return Ratio(float(np.median(ratios)), float(low), float(high))
