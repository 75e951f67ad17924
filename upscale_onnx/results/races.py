"""What was timed: races, and where the time of their runners goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Latency of one runner in milliseconds; `ratio` is its median over the first runner's.

    ratio_low, ratio_high: the 95 % confidence interval of `ratio`; None where it was not computed.
    """

    name: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    ratio: float
    ratio_low: float | None = None
    ratio_high: float | None = None


@dataclass(frozen=True)
class Race:
    """An interleaved race. The first timing is the reference; `winner` is the fastest runner.

    batch: the first dimension of the inputs where one was asked for, otherwise None.
    """

    timings: tuple[Timing, ...]
    winner: str
    provider: str
    threads: int
    rounds: int
    batch: int | None = None


@dataclass(frozen=True)
class OperatorTotal:
    """The nodes of one operator type in the runtime's optimised graph, and their time per inference together."""

    op_type: str
    nodes: int
    ms: float


@dataclass(frozen=True)
class Profile:
    """Where the time of one runner goes, the slowest operator type first."""

    name: str
    operators: tuple[OperatorTotal, ...]
    provider: str
    threads: int
    batch: int | None = None


@dataclass(frozen=True)
class Bench:
    """Races under several settings, the profiles of their runners, and one line for each that could not be run."""

    machine: Mapping[str, str | int]
    races: tuple[Race, ...]
    profiles: tuple[Profile, ...] = ()
    skipped: tuple[str, ...] = ()
