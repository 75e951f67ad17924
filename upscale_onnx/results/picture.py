"""What a page shows of a network: where its segments lie, and which channels of a value each consumer demands."""

from __future__ import annotations

from dataclasses import dataclass

Run = tuple[int, int]
"""The first of some consecutive channels, and how many there are."""


@dataclass(frozen=True)
class Demand:
    """The channels of a value that the consumer `node` demands, as runs, and how many they are."""

    node: str
    op_type: str
    channels: int
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Reading:
    """The channels of a value that consumers read, in the original and in the compiled model.

    channels: how many channels the value has; live: how many of them a result depends on; live_runs: which.
    held: how many channels the compiled value holds; held_runs: which, as runs of original channels in the order in
    which it holds them. A channel -1 is none of the original. None: the compiled model has no such value.
    padded: how many of the held channels no result depends on.
    """

    value: str
    segment: int
    channels: int
    live: int
    live_runs: tuple[Run, ...]
    demands: tuple[Demand, ...]
    held: int | None = None
    held_runs: tuple[Run, ...] | None = None
    padded: int | None = None


@dataclass(frozen=True)
class Track:
    """Where a segment lies: the places of its producers, consumers, forks and joins among the nodes of the graph."""

    segment: int
    producers: tuple[int, ...]
    consumers: tuple[int, ...]
    forks: tuple[int, ...]
    joins: tuple[int, ...]


@dataclass(frozen=True)
class Picture:
    """All that a page draws of a network. nodes: how many nodes the graph computes at run time."""

    nodes: int
    tracks: tuple[Track, ...]
    readings: tuple[Reading, ...]
