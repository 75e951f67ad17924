from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.order.brute_force import allowed_orders, served
from tests.order.instances import bools, families, hidden_intervals, random_masks
from tests.order.permutations import is_permutation
from tests.thorough import examples
from upscale_onnx.errors import ArgumentError
from upscale_onnx.order import consecutive_ones
from upscale_onnx.types import BoolArray


@settings(max_examples=examples(300))
@given(families(max_n=7, max_demands=5))
def test_the_decision_agrees_with_all_permutations(family: tuple[int, list[BoolArray]]) -> None:
    n, demands = family
    possible = allowed_orders(n, demands)
    order = consecutive_ones(np.array(demands, dtype=np.bool_).reshape(-1, n))
    if not possible:
        assert order is None
        return
    assert order is not None
    assert tuple(order.tolist()) in possible
    if tuple(range(n)) in possible:
        assert order.tolist() == list(range(n))


def test_a_circle_of_three_has_no_order() -> None:
    assert consecutive_ones([bools(3, {0, 1}), bools(3, {1, 2}), bools(3, {0, 2})]) is None


def test_elements_of_the_same_sets_keep_their_order() -> None:
    order = consecutive_ones([bools(6, {1, 3, 5})])
    assert order is not None
    assert order.tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize("seed", range(5))
def test_hidden_orders_are_found_at_size(seed: int) -> None:
    demands = hidden_intervals(np.random.default_rng(seed), 2048, 60)
    order = consecutive_ones(demands)
    assert order is not None
    assert is_permutation(order)
    assert all(served(order.tolist(), demands))


def test_random_masks_have_none() -> None:
    assert consecutive_ones(random_masks(np.random.default_rng(0), 4096, 60)) is None


def test_no_sets_and_no_elements() -> None:
    for shape in ((0, 3), (2, 0)):
        order = consecutive_ones(np.zeros(shape, np.bool_))
        assert order is not None
        assert order.tolist() == list(range(shape[1]))


def test_malformed_sets_are_refused() -> None:
    with pytest.raises(ArgumentError, match="shape"):
        consecutive_ones([])
    with pytest.raises(ArgumentError, match="demand 1"):
        consecutive_ones([bools(3, {0}), bools(4, {0})])
    with pytest.raises(ArgumentError, match="bool"):
        consecutive_ones([np.array([0, 1, 1])])
