from __future__ import annotations

import sys
import time
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings

from tests.order.brute_force import allowed_orders
from tests.order.instances import families, hidden_intervals
from tests.thorough import examples
from upscale_onnx.errors import ArgumentError
from upscale_onnx.order import PQTree
from upscale_onnx.order.pq_tree import _Node
from upscale_onnx.types import BoolArray


def all_frontiers(node: _Node) -> set[tuple[int, ...]]:
    """Every order the tree stands for, written out from its definition."""
    if not node.children:
        return {(node.bits.bit_length() - 1,)}
    arrangements = (node.children, node.children[::-1]) if node.rigid else permutations(node.children)
    return {
        sum(parts, ()) for children in arrangements for parts in product(*(all_frontiers(child) for child in children))
    }


@settings(max_examples=examples(300))
@given(families())
def test_the_tree_stands_for_exactly_the_allowed_orders(family: tuple[int, list[BoolArray]]) -> None:
    n, demands = family
    tree = PQTree(n)
    kept: list[BoolArray] = []
    for demand in demands:
        possible = allowed_orders(n, [*kept, demand])
        before = tree._root
        assert tree.reduce(np.flatnonzero(demand)) is bool(possible)
        if possible:
            kept.append(demand)
            assert all_frontiers(tree._root) == possible
        else:
            assert tree._root is before


@settings(max_examples=examples(200))
@given(families())
def test_the_frontier_is_allowed_and_the_identity_where_that_is(family: tuple[int, list[BoolArray]]) -> None:
    n, demands = family
    tree = PQTree(n)
    kept = [demand for demand in demands if tree.reduce(np.flatnonzero(demand))]
    possible = allowed_orders(n, kept)
    frontier = tuple(tree.frontier().tolist())
    assert frontier in possible
    if tuple(range(n)) in possible:
        assert frontier == tuple(range(n))


def test_three_sets_in_a_circle_fit_by_twos_only() -> None:
    tree = PQTree(3)
    assert tree.reduce([0, 1])
    assert tree.reduce([1, 2])
    assert not tree.reduce([0, 2])
    assert tree.frontier().tolist() == [0, 1, 2]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_trees(n: int) -> None:
    tree = PQTree(n)
    assert tree.reduce([])
    assert tree.reduce(range(n))
    assert tree.frontier().tolist() == list(range(n))


@pytest.mark.parametrize("bad", [[3], [-1], np.array([True, False, True])])
def test_leaves_that_do_not_exist_are_refused(bad: object) -> None:
    with pytest.raises(ArgumentError, match="leaf indices"):
        PQTree(3).reduce(bad)  # type: ignore[arg-type]


def test_bits_beyond_the_leaves_are_refused() -> None:
    with pytest.raises(ArgumentError, match="bits"):
        PQTree(3).reduce_bits(8)


def test_a_tree_deeper_than_the_recursion_limit() -> None:
    n = sys.getrecursionlimit() + 100
    tree = PQTree(n)
    for size in range(n - 1, 1, -1):
        assert tree.reduce_bits((1 << size) - 1)
    assert tree.frontier().tolist() == list(range(n))
    assert tree.reduce([0, n - 1])  # the innermost and the outermost leaf: every level between turns the same way
    assert not tree.reduce([0, 2])  # 0 has two neighbours already
    assert not tree.reduce([1, n - 1])
    order = tree.frontier().tolist()
    assert order in ([n - 1, *range(n - 1)], [*range(n - 2, -1, -1), n - 1])


def test_thousands_of_leaves_and_dozens_of_sets() -> None:
    demands = hidden_intervals(np.random.default_rng(0), 4096, 60)
    tree = PQTree(4096)
    started = time.perf_counter()
    for demand in demands:
        assert tree.reduce(np.flatnonzero(demand).tolist())
    order = tree.frontier()
    assert time.perf_counter() - started < 5  # about 0.3 s; a tree walked afresh per leaf would take minutes
    for demand in demands:
        assert np.ptp(np.flatnonzero(demand[order])) == demand.sum() - 1
