"""Which selections of one value its consumers should read: a facility-location problem.

Some selections of the value are made. Each consumer reads one that covers its demand, or the value itself.
A selection costs a copy; reading more than is demanded costs multiply-accumulates on zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from upscale_onnx.types import IntArray

# Up to this many consumers, every way to share selections is tried.
_MOST_EXACT = 10
# With more consumers, a solver may search for this long. For usual networks it needs a few hundredths of a second.
_SOLVER_SECONDS = 5.0


@dataclass(frozen=True, eq=False)
class Service:
    """Consumers that read one tensor: a selection of `positions`, or the value itself (None)."""

    consumers: tuple[int, ...]
    positions: IntArray | None


@dataclass(frozen=True, eq=False)
class Assignment:
    """The services chosen, their cost in milliseconds, and a lower bound of the cost of every assignment."""

    services: tuple[Service, ...]
    cost_ms: float
    bound_ms: float


@dataclass(frozen=True)
class Facility:
    """The demands on one value, and what it costs to serve them.

    demands: positions per consumer, ascending. read_ms: the time of a consumer (by index) that reads a number of
    channels. copy_ms: the time of a selection of so many channels. full: the channel count of the value.
    fill: grows positions to what a selection would really hold (whole blocks). block: the number of channels that
    `fill` returns is a multiple of this, or `full`.
    """

    demands: Sequence[IntArray]
    read_ms: Callable[[int, int], float]
    copy_ms: Callable[[int], float]
    full: int
    fill: Callable[[IntArray], IntArray]
    block: int = 1

    def service(self, consumers: Sequence[int]) -> tuple[Service, float]:
        """The best single tensor for these consumers, and its cost with their reads, in milliseconds."""
        direct = sum(self.read_ms(consumer, self.full) for consumer in consumers)
        union = self.fill(np.unique(np.concatenate([self.demands[consumer] for consumer in consumers])))
        if union.size >= self.full:
            return Service(tuple(consumers), None), direct
        cost = self.copy_ms(union.size) + sum(self.read_ms(consumer, union.size) for consumer in consumers)
        if cost < direct:
            return Service(tuple(consumers), union), cost
        return Service(tuple(consumers), None), direct


def assign(problem: Facility) -> Assignment:
    """The cheapest way to serve all consumers: exact for up to ten, else the best one found.

    The same problem gives the same result, unless the solver runs out of time.
    """
    count = len(problem.demands)
    if count <= _MOST_EXACT:
        services, cost = _every_partition(problem, count)
        return Assignment(services, cost, cost)
    services, cost = _by_milp(problem, count)
    return Assignment(services, cost, min(cost, _bound(problem, count)))


def _every_partition(problem: Facility, count: int) -> tuple[tuple[Service, ...], float]:
    """Exact, by dynamic programming over sets of consumers: the one with the least index shares with some others."""
    single = [
        problem.service([i for i in range(count) if group >> i & 1]) if group else None for group in range(1 << count)
    ]
    best: list[tuple[float, int]] = [(0.0, 0)] * (1 << count)
    for whole in range(1, 1 << count):
        low = whole & -whole
        rest = whole ^ low
        options = []
        part = rest
        while True:
            entry = single[part | low]
            assert entry is not None
            options.append((entry[1] + best[rest ^ part][0], part | low))
            if part == 0:
                break
            part = (part - 1) & rest
        best[whole] = min(options)
    services, left = [], (1 << count) - 1
    while left:
        group = best[left][1]
        entry = single[group]
        assert entry is not None
        services.append(entry[0])
        left ^= group
    return tuple(services), best[-1][0]


def _by_milp(problem: Facility, count: int) -> tuple[tuple[Service, ...], float]:
    """Choose among single, pairwise and common selections by integer programming."""
    groups = [[i] for i in range(count)] + [[i, j] for i in range(count) for j in range(i)] + [list(range(count))]
    options = [problem.service(group) for group in groups]
    cost = np.asarray([value for _, value in options])
    member = np.zeros((count, len(groups)))
    for column, group in enumerate(groups):
        member[group, column] = 1
    solved = scipy.optimize.milp(
        cost,
        constraints=scipy.optimize.LinearConstraint(member, 1, 1),
        integrality=np.ones(len(groups)),
        bounds=(0, 1),
        options={"time_limit": _SOLVER_SECONDS},
    )
    # Where the solver finds nothing in time, every consumer has a service of its own: the first columns.
    chosen = range(count) if solved.x is None else [int(column) for column in np.flatnonzero(solved.x > 0.5)]
    return tuple(options[column][0] for column in chosen), float(cost[chosen].sum())


def _bound(problem: Facility, count: int) -> float:
    """The lower bound of the cost: selections are free, and every consumer reads the number of channels that takes it
    least time, but no fewer than it demands.

    More channels may take less time, since kernels are faster at some sizes. So every size is tried.
    """
    total = 0.0
    for consumer in range(count):
        least = -(-problem.demands[consumer].size // problem.block) * problem.block
        sizes = [*range(least, problem.full, problem.block), problem.full]
        total += min(problem.read_ms(consumer, size) for size in sizes)
    return total
