"""Lines of plots."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A line over amounts: its points, and its text in the legend. low, high: the ends of their intervals, or empty."""

    label: str
    amounts: tuple[float, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
