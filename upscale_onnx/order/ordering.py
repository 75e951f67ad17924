"""The order that makes demands of the most weight contiguous, with a bound on the weight that any order can reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from upscale_onnx.errors import ArgumentError, InternalError
from upscale_onnx.order.conflicts import DemandFamily, iter_bits
from upscale_onnx.order.consecutive import consecutive_ones
from upscale_onnx.order.demands import contiguous_rows, demand_matrix
from upscale_onnx.order.paths import greedy_path
from upscale_onnx.order.search import best_subset
from upscale_onnx.types import Array, BoolArray, FloatArray, IntArray

_WORK_LIMIT = 4_000_000.0  # column classes looked at; a few tenths of a second


@dataclass(frozen=True, eq=False)
class Ordering:
    """An order of channels and its value.

    order: (n,), new[i] = old[order[i]].
    satisfied: for each demand, whether its channels are contiguous.
    value: the total weight of the satisfied demands.
    bound: an upper bound on the value of any order.
    """

    order: IntArray
    satisfied: tuple[bool, ...]
    value: float
    bound: float


def best_order(n: int, demands: Sequence[Array] | Array, weights: Sequence[float]) -> Ordering:
    """Return the order of n channels that maximises the total weight of the contiguous demands.

    demands: bool arrays (n,), True = read. weights: finite, non-negative, one for each demand.
    Two demands overlap if they share channels and neither contains the other. The result is proven best (`gap == 0`)
    if every connected component of overlapping demands has at most 12 distinct demands, and often if one has more.
    Otherwise the search stops after a fixed amount of work, and `gap` is what it may have missed. The result depends
    on the arguments alone and is never worse than the identity or `greedy_path`. The identity is returned if nothing
    better is found; else channels that the same served demands read keep their relative order.

    Raises: ArgumentError when a demand or the weights are malformed.
    Source: overlap components decide the consecutive-ones property one by one (Fulkerson and Gross, "Incidence
    matrices and interval graphs", 1965); the search within one is this project's own.
    """
    matrix = demand_matrix(n, demands)
    worth = _checked_weights(weights, len(matrix))
    identity = np.arange(n, dtype=np.int64)
    here = contiguous_rows(matrix, identity)
    total = math.fsum(worth)
    if here.all():
        return Ordering(identity, tuple(here.tolist()), total, total)

    distinct, merged = _merge(matrix, worth)
    for_all = consecutive_ones(distinct)
    if for_all is not None:
        return _evaluate(matrix, worth, for_all)
    chosen, proven, lost = _choose(distinct, merged)
    found = consecutive_ones(distinct[chosen]) if chosen else identity
    if found is None:
        raise InternalError("order: demands chosen component by component admit no common order; please report this")
    candidates = [identity, found] if proven else [identity, found, greedy_path(n, matrix).order]
    orderings = [_evaluate(matrix, worth, order) for order in candidates]
    value = max(ordering.value for ordering in orderings)
    best = next(ordering for ordering in orderings if ordering.value == value)
    bound = value if proven else max(value, min(total, total - lost))
    return Ordering(best.order, best.satisfied, value, bound)


def _checked_weights(weights: Sequence[float], count: int) -> FloatArray:
    worth = np.asarray(weights, dtype=np.float64)
    if worth.shape != (count,):
        raise ArgumentError(f"one weight is needed for each of {count} demands, got shape {worth.shape}")
    if not np.isfinite(worth).all() or (worth < 0).any():
        raise ArgumentError("weights of demands must be finite and not negative")
    return worth


def _evaluate(matrix: BoolArray, worth: FloatArray, order: IntArray) -> Ordering:
    served = contiguous_rows(matrix, order)
    value = math.fsum(worth[served])
    return Ordering(order, tuple(served.tolist()), value, value)


def _merge(matrix: BoolArray, worth: FloatArray) -> tuple[BoolArray, list[float]]:
    """The distinct demands that some order does not serve, heaviest first, with the summed weights of equal ones.

    Demands for no channel, for one channel or for all channels are left out, because any order serves them.
    """
    sizes = matrix.sum(axis=1)
    weight_of: dict[bytes, list[float]] = {}
    row_of: dict[bytes, int] = {}
    for i in np.flatnonzero((sizes > 1) & (sizes < matrix.shape[1])).tolist():
        key = matrix[i].tobytes()
        row_of.setdefault(key, i)
        weight_of.setdefault(key, []).append(float(worth[i]))
    merged = {key: math.fsum(parts) for key, parts in weight_of.items()}
    heaviest_first = sorted(row_of, key=lambda key: -merged[key])
    return matrix[[row_of[key] for key in heaviest_first]], [merged[key] for key in heaviest_first]


def _choose(distinct: BoolArray, weights: list[float]) -> tuple[list[int], bool, float]:
    """The demands to serve, whether these are proven best, and the least weight that every order loses."""
    counts = distinct.astype(np.float32)
    shared = counts @ counts.T
    sizes = np.diagonal(shared)
    overlapping = (shared > 0) & (shared < sizes[:, None]) & (shared < sizes[None, :])
    parts, part_of = scipy.sparse.csgraph.connected_components(scipy.sparse.csr_matrix(overlapping), directed=False)
    chosen: list[int] = []
    proven = True
    lost: list[float] = []
    for part in range(parts):
        members = np.flatnonzero(part_of == part)
        family_weights = [weights[i] for i in members.tolist()]
        choice = best_subset(
            DemandFamily(distinct[members]), family_weights, _WORK_LIMIT * members.size / len(distinct)
        )
        chosen += [int(members[i]) for i in iter_bits(choice.chosen)]
        proven = proven and choice.bound == choice.value
        lost.append(math.fsum(family_weights) - choice.bound)
    return sorted(chosen), proven, math.fsum(lost)
