"""The heaviest subset of demands that one order can serve: best-first branch and bound, then local exchange."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from upscale_onnx.order.conflicts import DemandFamily, iter_bits

EXACT_DEMANDS = 12  # families up to this size are always solved exactly: they have at most 2**12 subsets
_MAX_GROUP = 64
_MAX_EXCHANGES = 4


@dataclass(frozen=True)
class Subset:
    """The chosen subset (bits), its weight, and an upper bound on the weight of any subset that one order can serve."""

    chosen: int
    value: float
    bound: float


def best_subset(family: DemandFamily, weights: Sequence[float], work_limit: float) -> Subset:
    """Return the heaviest subset found, with `bound == value` if it is proven best.

    weights: non-negative and descending, one for each demand of the family.
    work_limit: how much `family.work` may grow before the proof is given up. It is ignored for families of at most
    EXACT_DEMANDS demands.
    """
    everything = (1 << family.size) - 1
    limit = family.work + work_limit
    best = family.greedy(range(family.size))
    value = _weight(best, weights)

    # An open state is (-bound, age, weight of `chosen`, chosen, candidates). It stands for all subsets that hold
    # `chosen` and else only candidates. Candidates are not decided yet, and no pair of chosen demands excludes them.
    heap = [(-_bound(family, weights, 0, everything), 0, 0.0, 0, everything)]
    age = 0
    while heap:
        negated, _, weight, chosen, candidates = heapq.heappop(heap)
        if -negated <= value:
            break
        if family.size > EXACT_DEMANDS and family.work > limit:
            return _exchange(family, weights, best, -negated, family.work + work_limit)
        low = candidates & -candidates
        demand = low.bit_length() - 1
        candidates ^= low
        open_states = [(weight, chosen, candidates)]
        if family.feasible(chosen | low):
            with_it = chosen | low, candidates & ~family.excluded_by(demand, chosen)
            open_states.append((weight + weights[demand], *with_it))
        for weight, chosen, candidates in open_states:
            if weight > value:
                best, value = chosen, weight
            bound = min(-negated, weight + _bound(family, weights, chosen, candidates))
            if bound > value:
                age += 1
                heapq.heappush(heap, (-bound, age, weight, chosen, candidates))
    best = family.greedy(range(family.size), best)  # adds demands of weight 0
    return Subset(best, value, value)


def _weight(bits: int, weights: Sequence[float]) -> float:
    return sum(weights[i] for i in iter_bits(bits))


def _bound(family: DemandFamily, weights: Sequence[float], chosen: int, candidates: int) -> float:
    """An upper bound on the weight that candidates can add to `chosen`.

    Candidates are split into groups. If something is chosen, any two members of a group exclude each other, so that
    only one of them can be added. If nothing is chosen yet, any three exclude each other, so that two can be added.
    """
    bound = 0.0
    while candidates:
        group: list[int] = []
        fitting = candidates
        while fitting and len(group) < _MAX_GROUP:
            low = fitting & -fitting
            demand = low.bit_length() - 1
            fitting ^= low
            fitting &= family.excluded_by(demand, chosen) if chosen else family.excluded_by_each(demand, group)
            group.append(demand)
            candidates ^= low
        bound += sum(weights[demand] for demand in group[: 1 if chosen else 2])
    return bound


def _exchange(family: DemandFamily, weights: Sequence[float], best: int, bound: float, limit: float) -> Subset:
    """Improve `best`: start from one other demand, and fill up greedily, the old choice first or the heaviest first."""
    best = family.greedy(range(family.size), best)
    for _ in range(_MAX_EXCHANGES):
        start = best
        for demand in range(family.size):
            if family.work > limit:
                break
            if best >> demand & 1:
                continue
            for first in (iter_bits(best), ()):
                refilled = family.greedy([*first, *range(family.size)], 1 << demand)
                if _weight(refilled, weights) > _weight(best, weights):
                    best = refilled
        if best == start:
            break
    value = _weight(best, weights)
    return Subset(best, value, max(value, bound))
