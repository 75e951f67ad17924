from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.order.brute_force import best_value, served
from tests.order.instances import bools, correlated_masks, families, hidden_intervals, random_masks
from tests.order.permutations import is_permutation
from tests.thorough import examples
from upscale_onnx.errors import ArgumentError
from upscale_onnx.order import Ordering, best_order, consecutive_ones, greedy_path
from upscale_onnx.types import BoolArray


def check(ordering: Ordering, n: int, demands: list[BoolArray], weights: list[float]) -> None:
    """What holds for every ordering: a permutation, honest flags, value and bound, nothing simpler is better."""
    assert ordering.order.shape == (n,)
    assert is_permutation(ordering.order)
    assert ordering.satisfied == served(ordering.order.tolist(), demands)
    assert ordering.value == pytest.approx(worth(ordering.satisfied, weights))
    assert ordering.bound >= ordering.value
    assert ordering.bound <= sum(weights) + 1e-9 * sum(weights)
    assert ordering.value >= worth(greedy_path(n, demands).satisfied, weights) - 1e-9
    assert ordering.value >= worth(served(range(n), demands), weights) - 1e-9


def worth(satisfied: tuple[bool, ...], weights: list[float]) -> float:
    return float(sum(weight for flag, weight in zip(satisfied, weights, strict=True) if flag))


@st.composite
def weighted(draw: st.DrawFn, max_n: int, max_demands: int) -> tuple[int, list[BoolArray], list[float]]:
    n, demands = draw(families(max_n, max_demands))
    weights = draw(st.lists(st.integers(0, 9), min_size=len(demands), max_size=len(demands)))
    return n, demands, [float(weight) for weight in weights]


@settings(max_examples=examples(300))
@given(weighted(max_n=7, max_demands=9))
def test_the_optimum_agrees_with_all_permutations(instance: tuple[int, list[BoolArray], list[float]]) -> None:
    n, demands, weights = instance
    ordering = best_order(n, demands, weights)
    check(ordering, n, demands, weights)
    assert ordering.value == best_value(n, demands, weights)
    assert ordering.bound == ordering.value


@settings(max_examples=examples(150))
@given(weighted(max_n=7, max_demands=24))
def test_many_demands_on_few_channels(instance: tuple[int, list[BoolArray], list[float]]) -> None:
    n, demands, weights = instance
    ordering = best_order(n, demands, weights)
    check(ordering, n, demands, weights)
    assert ordering.value <= best_value(n, demands, weights) <= ordering.bound


@settings(max_examples=examples(100))
@given(weighted(max_n=7, max_demands=24))
def test_the_bound_holds_when_the_search_is_cut_short(instance: tuple[int, list[BoolArray], list[float]]) -> None:
    n, demands, weights = instance
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("upscale_onnx.order.search.EXACT_DEMANDS", 0)
        patch.setattr("upscale_onnx.order.ordering._WORK_LIMIT", 0.0)
        ordering = best_order(n, demands, weights)
    check(ordering, n, demands, weights)
    assert ordering.value <= best_value(n, demands, weights) <= ordering.bound


@settings(max_examples=examples(50))
@given(weighted(max_n=10, max_demands=16), st.randoms(use_true_random=False))
def test_the_result_depends_on_the_arguments_alone(instance, random) -> None:  # type: ignore[no-untyped-def]
    n, demands, weights = instance
    first, second = best_order(n, demands, weights), best_order(n, [d.copy() for d in demands], list(weights))
    assert first.order.tolist() == second.order.tolist()
    assert (first.satisfied, first.value, first.bound) == (second.satisfied, second.value, second.bound)
    shuffled = random.sample(range(len(demands)), len(demands))
    again = best_order(n, [demands[i] for i in shuffled], [weights[i] for i in shuffled])
    if first.bound == first.value and again.bound == again.value:
        assert again.value == first.value


def test_a_circle_of_three_gives_up_the_lightest() -> None:
    demands = [bools(3, {0, 1}), bools(3, {1, 2}), bools(3, {0, 2})]
    ordering = best_order(3, demands, [1.0, 3.0, 2.0])
    assert ordering.satisfied == (False, True, True)
    assert (ordering.value, ordering.bound) == (5.0, 5.0)


def test_equal_demands_weigh_together() -> None:
    demands = [bools(3, {0, 1}), bools(3, {1, 2}), bools(3, {0, 2}), bools(3, {0, 1})]
    assert best_order(3, demands, [1.0, 1.5, 1.6, 1.0]).satisfied == (True, False, True, True)


def test_what_weighs_nothing_is_served_where_it_can_be() -> None:
    demands = [bools(6, {0, 3}), bools(6, {1, 4}), bools(6, {0, 1, 3}), bools(6, {0, 4})]
    assert best_order(6, demands, [1.0, 1.0, 0.0, 1.0]).satisfied == (True, True, False, True)
    assert best_order(6, demands[:3], [1.0, 0.0, 0.0]).satisfied == (True, True, True)


def test_trivial_demands_and_no_demands() -> None:
    trivial = [bools(4, ()), bools(4, {2}), bools(4, range(4))]
    ordering = best_order(4, trivial, [1.0, 2.0, 3.0])
    assert ordering.order.tolist() == [0, 1, 2, 3]
    assert (ordering.satisfied, ordering.value, ordering.bound) == ((True, True, True), 6.0, 6.0)
    assert best_order(0, [], []).order.tolist() == []
    assert best_order(3, [], []).order.tolist() == [0, 1, 2]


def test_the_identity_is_kept_when_nothing_is_better() -> None:
    demands = [bools(4, {1, 2}), bools(4, {2, 3}), bools(4, {1, 3})]
    assert best_order(4, demands, [2.0, 2.0, 1.0]).order.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(20))
def test_never_worse_than_the_greedy_path(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, count = int(rng.integers(5, 60)), int(rng.integers(3, 30))
    maker = (random_masks, correlated_masks, hidden_intervals)[seed % 3]
    demands = maker(rng, n, count)
    weights = rng.integers(1, 100, count).astype(float).tolist()
    check(best_order(n, demands, weights), n, demands, weights)


def test_a_cut_search_still_beats_the_greedy_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upscale_onnx.order.ordering._WORK_LIMIT", 0.0)
    beaten = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        demands = [bools(30, rng.choice(30, 4, replace=False)) for _ in range(25)]
        weights = rng.integers(1, 100, 25).astype(float).tolist()
        ordering = best_order(30, demands, weights)
        check(ordering, 30, demands, weights)
        assert ordering.bound > ordering.value
        beaten += ordering.value > worth(greedy_path(30, demands).satisfied, weights)
    assert beaten >= 8


@pytest.mark.parametrize("maker", [random_masks, correlated_masks, hidden_intervals])
def test_forty_demands_on_two_thousand_channels(maker) -> None:  # type: ignore[no-untyped-def]
    demands = maker(np.random.default_rng(5), 2048, 40)
    weights = np.random.default_rng(6).random(40).tolist()
    best_order(8, [bools(8, {0, 2})], [1.0])  # the table of triples is made once
    fastest = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        ordering = best_order(2048, demands, weights)
        fastest = min(fastest, time.perf_counter() - started)
    assert fastest < 1
    check(ordering, 2048, demands, weights)
    if maker is hidden_intervals:
        assert all(ordering.satisfied)


@pytest.mark.parametrize(
    ("demands", "weights", "message"),
    [
        ([bools(3, {0})], [], "one weight"),
        ([bools(3, {0})], [-1.0], "not negative"),
        ([bools(3, {0})], [float("nan")], "finite"),
        ([bools(4, {0})], [1.0], "shape"),
        ([np.array([0, 1, 2])], [1.0], "bool"),
    ],
)
def test_malformed_arguments_are_refused(demands: list[NDArray[np.bool_]], weights: list[float], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        best_order(3, demands, weights)


def test_everything_is_served_exactly_when_an_order_exists() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        demands = random_masks(rng, 6, 4, keep=0.5)
        ordering = best_order(6, demands, [1.0] * 4)
        assert all(ordering.satisfied) is (consecutive_ones(demands) is not None)
