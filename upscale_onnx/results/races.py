"""Results of races, and the time of their runners by operator type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from upscale_onnx.results.origin import Origin
from upscale_onnx.results.shown import Shown


@dataclass(frozen=True)
class Timing:
    """The latency of one runner: its median and its 10th and 90th percentile, in ms.

    ratio: its time relative to the first runner's, the median over rounds.
    ratio_low, ratio_high: the 95 % confidence interval of `ratio`; None if it was not computed.
    std_ms: the standard deviation over rounds, in ms; None if it was not computed.
    round_ms: the latency in each round that the runner took part in, in ms.
    """

    name: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    ratio: float
    ratio_low: float | None = None
    ratio_high: float | None = None
    std_ms: float | None = None
    round_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class Race:
    """An interleaved race. The first timing is the reference; `winner` is the fastest runner.

    batch: the batch size, if one was asked for, otherwise None.
    """

    timings: tuple[Timing, ...]
    winner: str
    provider: str
    threads: int
    rounds: int
    batch: int | None = None


@dataclass(frozen=True)
class OperatorTotal:
    """The number of nodes of one operator type in onnxruntime's optimised graph, and their total ms per inference."""

    op_type: str
    nodes: int
    ms: float


@dataclass(frozen=True)
class TimeProfile:
    """The time of one runner by operator type, the slowest type first."""

    name: str
    operators: tuple[OperatorTotal, ...]
    provider: str
    threads: int
    batch: int | None = None


@dataclass(frozen=True)
class Bench(Shown):
    """Races with several settings, the profiles of their runners, and one line of text per runner that was skipped.

    origin: the command, the versions and the machine; None where nobody asked.

    >>> from upscale_onnx import Bench
    >>> from upscale_onnx.results import Race, Timing
    >>> timings = (Timing("before", 2.0, 1.9, 2.1, 1.0), Timing("after", 1.0, 0.9, 1.1, 0.5))
    >>> print(Bench({}, (Race(timings, "after", "cpu", threads=1, rounds=25),)))
    after is 2.00x faster than before
    runner  median ms  p10 ms  p90 ms  ratio
    before          2     1.9     2.1      1
    after           1     0.9     1.1    0.5
    """

    machine: Mapping[str, str | int]
    races: tuple[Race, ...]
    profiles: tuple[TimeProfile, ...] = ()
    skipped: tuple[str, ...] = ()
    origin: Origin | None = None
