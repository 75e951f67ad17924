"""Answers by trying all permutations, sharing nothing with the code under test."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray


def runs(flags: Sequence[bool]) -> int:
    """Return how many separate runs of True the flags hold."""
    return sum(1 for i, flag in enumerate(flags) if flag and (i == 0 or not flags[i - 1]))


def served(order: Sequence[int], demands: Sequence[NDArray[Any]]) -> tuple[bool, ...]:
    return tuple(runs([bool(demand[i]) for i in order]) <= 1 for demand in demands)


def allowed_orders(n: int, demands: Sequence[NDArray[Any]]) -> set[tuple[int, ...]]:
    orders = _orders(n)
    for demand in demands:
        orders = orders[_contiguous(orders, demand)]
    return set(map(tuple, orders.tolist()))


def best_value(n: int, demands: Sequence[NDArray[Any]], weights: Sequence[float]) -> float:
    """Return the highest total weight of contiguous demands, over all permutations at once."""
    orders = _orders(n)
    value = np.zeros(len(orders))
    for demand, weight in zip(demands, weights, strict=True):
        value += weight * _contiguous(orders, demand)
    return float(value.max())


@cache
def _orders(n: int) -> NDArray[np.int64]:
    return np.array(list(permutations(range(n))), dtype=np.int64).reshape(-1, n)


def _contiguous(orders: NDArray[np.int64], demand: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of the orders hold the demand in one run."""
    placed = np.asarray(demand, np.int8)[orders]
    starts = (placed[:, 1:] > placed[:, :-1]).sum(axis=1) + placed[:, 0]
    return np.asarray(starts <= 1)
