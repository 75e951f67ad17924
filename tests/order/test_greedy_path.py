from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.order.brute_force import served
from tests.order.instances import bools, families, random_masks
from tests.order.permutations import is_permutation
from tests.thorough import examples
from upscale_onnx.order import greedy_path
from upscale_onnx.order.paths import _best_path, _containment, _distinct, _maximal, _neighbours
from upscale_onnx.types import BoolArray


@settings(max_examples=examples(200))
@given(families(max_n=12, max_demands=10))
def test_flags_are_what_the_order_does(family: tuple[int, list[BoolArray]]) -> None:
    n, demands = family
    path = greedy_path(n, demands)
    assert path.order.shape == (n,)
    assert is_permutation(path.order)
    assert path.satisfied == served(path.order.tolist(), demands)


@given(families(max_n=8, max_demands=7))
def test_the_first_path_covers_the_most_channels_of_all_paths(family: tuple[int, list[BoolArray]]) -> None:
    rows = _distinct(np.array(family[1], dtype=np.bool_).reshape(-1, family[0]))
    nodes = _maximal(np.arange(len(rows)), _containment(rows))
    if not nodes:
        return

    def is_path(path: tuple[int, ...]) -> bool:
        pairs = combinations(range(len(path)), 2)
        return all((rows[path[i]] & rows[path[j]]).any() == (j == i + 1) for i, j in pairs)

    paths = (path for size in range(1, len(nodes) + 1) for path in permutations(nodes, size) if is_path(path))
    most = max(int(rows[list(path)].any(axis=0).sum()) for path in paths)
    best = _best_path(rows, _neighbours(rows), nodes)
    assert is_path(tuple(best))
    assert rows[best].any(axis=0).sum() == most


def test_a_chain_is_laid_out_along_its_overlaps() -> None:
    demands = [bools(6, {0, 2}), bools(6, {2, 4}), bools(6, {4, 1, 3})]
    path = greedy_path(6, demands)
    assert all(path.satisfied)
    assert path.order.tolist()[-1] == 5  # nobody demands it


def test_the_path_of_most_channels_is_preferred() -> None:
    # From the second demand a path may go on to the first or to the third, which exclude each other by channel 9.
    demands = [bools(10, {0, 2, 9}), bools(10, {2, 4}), bools(10, {4, 6, 7, 9})]
    path = greedy_path(10, demands)
    assert path.satisfied[0] or path.satisfied[1]
    assert path.satisfied[2]


def test_inner_demands_are_ordered_inside_the_outer_one() -> None:
    demands = [bools(8, range(0, 8, 2)), bools(8, {0, 4}), bools(8, {4, 6}), bools(8, {1, 3})]
    assert all(greedy_path(8, demands).satisfied)


def test_a_long_chain_of_nested_demands() -> None:
    demands = [bools(1500, range(stop)) for stop in range(2, 1500, 10)]
    assert all(greedy_path(1500, demands).satisfied)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_demands_are_all_served(count: int) -> None:
    demands = random_masks(np.random.default_rng(1), 20, count)
    assert all(greedy_path(20, demands).satisfied)


def test_empty_and_equal_demands() -> None:
    demands = [bools(5, ()), bools(5, {1, 4}), bools(5, {1, 4}), bools(5, range(5))]
    assert greedy_path(5, demands).satisfied == (True, True, True, True)
    assert greedy_path(0, [bools(0, ())]).satisfied == (True,)
