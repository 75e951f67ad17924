"""Serving consumers: the cheapest way, whoever the consumers are."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upscale_onnx.plan import facility
from upscale_onnx.plan.facility import Assignment, Facility, Service, assign
from upscale_onnx.plan.selection import fill_block
from upscale_onnx.types import IntArray

FULL = 12


def problem(demands: list[IntArray], rates: list[float], copy: float, per_channel: float, align: int = 1) -> Facility:
    """Reads cost a rate per channel, copies a price and another one per channel."""
    present = np.arange(FULL)

    def read_ms(consumer: int, channels: int) -> float:
        return rates[consumer] * channels

    def copy_ms(channels: int) -> float:
        return copy + per_channel * channels

    return Facility(demands, read_ms, copy_ms, FULL, lambda positions: fill_block(positions, present, align), align)


@st.composite
def problems(draw: st.DrawFn, least: int = 1, most: int = 5) -> Facility:
    count = draw(st.integers(least, most))
    some = st.sets(st.integers(0, FULL - 1), min_size=1).map(lambda found: np.asarray(sorted(found), np.int64))
    rate = st.floats(0.0, 4.0, allow_subnormal=False)
    return problem(
        [draw(some) for _ in range(count)],
        [draw(rate) for _ in range(count)],
        draw(st.floats(0.0, 20.0, allow_subnormal=False)),
        draw(rate),
        draw(st.sampled_from((1, 4, 8))),
    )


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Every way to put `items` into groups."""
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [[items[0]], *rest]
        for index, group in enumerate(rest):
            yield [*rest[:index], [items[0], *group], *rest[index + 1 :]]


def brute_force(found: Facility) -> float:
    """The least cost over all groupings, each group reading a selection for it or the whole value."""

    @functools.cache
    def group_ms(group: tuple[int, ...]) -> float:
        union = found.fill(np.unique(np.concatenate([found.demands[i] for i in group])))
        whole = sum(found.read_ms(i, found.full) for i in group)
        selection = found.copy_ms(union.size) + sum(found.read_ms(i, union.size) for i in group)
        return min(whole, selection)

    return min(sum(map(group_ms, map(tuple, grouping))) for grouping in partitions(list(range(len(found.demands)))))


def listed(service: Service) -> list[int] | None:
    """The positions that are picked, None for the value itself."""
    return None if service.positions is None else service.positions.tolist()


def cost_of(found: Facility, services: tuple[Service, ...]) -> float:
    """What these services cost."""
    total = 0.0
    for service in services:
        size = found.full if service.positions is None else service.positions.size
        total += 0.0 if service.positions is None else found.copy_ms(size)
        total += sum(found.read_ms(consumer, size) for consumer in service.consumers)
    return total


def assert_serves(found: Facility, outcome: Assignment) -> None:
    """Every consumer is served once, by a tensor that holds what it demands, at the price that is told."""
    served = sorted(consumer for service in outcome.services for consumer in service.consumers)
    assert served == list(range(len(found.demands)))
    for service in outcome.services:
        if service.positions is None:
            continue
        assert (np.diff(service.positions) > 0).all()
        assert service.positions.size < found.full
        assert np.array_equal(service.positions, found.fill(service.positions))
        for consumer in service.consumers:
            assert np.isin(found.demands[consumer], service.positions).all()
    assert outcome.cost_ms == pytest.approx(cost_of(found, outcome.services))
    assert outcome.bound_ms <= outcome.cost_ms


@given(problems())
def test_few_consumers_are_served_at_the_least_cost(found: Facility) -> None:
    outcome = assign(found)
    assert_serves(found, outcome)
    assert outcome.cost_ms == pytest.approx(brute_force(found), abs=1e-9)
    assert outcome.bound_ms == outcome.cost_ms


@given(problems())
def test_the_same_problem_has_the_same_answer(found: Facility) -> None:
    first, second = assign(found), assign(replace(found))
    assert [service.consumers for service in first.services] == [service.consumers for service in second.services]
    for one, other in zip(first.services, second.services, strict=True):
        assert listed(one) == listed(other)


@given(problems(most=7))
def test_integer_programming_lies_between_the_optimum_and_the_simple_ways(found: Facility) -> None:
    count = len(found.demands)
    exact = assign(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facility, "_MOST_EXACT", 0)
        outcome = assign(found)
    assert_serves(found, outcome)
    slack = 1e-3 * exact.cost_ms + 1e-6  # the solver's own gap
    assert outcome.cost_ms >= exact.cost_ms - 1e-9
    assert outcome.bound_ms <= exact.cost_ms + 1e-9
    each = sum(found.service([consumer])[1] for consumer in range(count))
    assert outcome.cost_ms <= min(each, found.service(range(count))[1]) + slack
    if count <= 3:
        # All groupings of three are singles, pairs or the common one.
        assert outcome.cost_ms <= exact.cost_ms + slack


@pytest.mark.parametrize("count", [11, 24])
def test_many_consumers_are_served(count: int) -> None:
    rng = np.random.default_rng(count)
    demands = [np.flatnonzero(rng.random(FULL) < 0.5) for _ in range(count)]
    demands = [found if found.size else np.zeros(1, np.int64) for found in demands]
    found = problem(demands, list(rng.uniform(0.5, 3.0, count)), 2.0, 0.1)
    outcome = assign(found)
    assert_serves(found, outcome)
    assert outcome.bound_ms < outcome.cost_ms
    again = assign(found)
    assert [s.consumers for s in again.services] == [s.consumers for s in outcome.services]


@pytest.mark.parametrize("count", [4, 12])
def test_the_bound_holds_where_more_channels_take_less_time(count: int) -> None:
    """Kernels that like all channels best: reading the value itself costs less than any bound by demands would say."""
    demands = [np.arange(number % 3 + 3) for number in range(count)]
    liking = replace(
        problem(demands, [1.0] * count, 1.0, 0.0), read_ms=lambda _, channels: 1.0 if channels == FULL else channels
    )
    outcome = assign(liking)
    assert outcome.cost_ms == count
    assert outcome.bound_ms == count
    assert outcome.bound_ms >= outcome.cost_ms


@given(problems(most=6))
def test_the_gap_is_that_to_the_bound(found: Facility) -> None:
    again = assign(found)
    assert again.bound_ms >= again.cost_ms
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facility, "_MOST_EXACT", 0)
        outcome = assign(found)
    best = brute_force(found)
    assert 0.0 <= outcome.bound_ms <= best + 1e-9


def test_a_solver_without_time_serves_everyone() -> None:
    rng = np.random.default_rng(3)
    demands = [np.unique(rng.integers(0, FULL, 5)) for _ in range(30)]
    found = problem(demands, list(rng.uniform(0.5, 3.0, 30)), 2.0, 0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facility, "_SOLVER_SECONDS", 0.0)
        outcome = assign(found)
    assert_serves(found, outcome)


def test_many_consumers_that_agree_share_one_selection() -> None:
    demand = np.arange(4)
    outcome = assign(problem([demand] * 14, [1.0] * 14, copy=10.0, per_channel=0.0))
    assert len(outcome.services) == 1
    assert listed(outcome.services[0]) == [0, 1, 2, 3]
    assert outcome.cost_ms == pytest.approx(10.0 + 14 * 4)


def test_two_that_want_nearly_the_same_share_and_the_third_is_served_alone() -> None:
    demands = [np.arange(0, 5), np.arange(0, 6), np.arange(9, 12)]
    outcome = assign(problem(demands, [1.0] * 3, copy=4.0, per_channel=0.0))
    services = {service.consumers: listed(service) for service in outcome.services}
    assert services == {(0, 1): list(range(6)), (2,): [9, 10, 11]}
    assert outcome.cost_ms == pytest.approx((4 + 6 + 6) + (4 + 3))


def test_who_needs_nearly_everything_reads_the_value_itself() -> None:
    outcome = assign(problem([np.arange(11), np.arange(2)], [1.0, 1.0], copy=2.0, per_channel=0.0))
    assert {service.consumers: service.positions is None for service in outcome.services} == {(0,): True, (1,): False}
    assert outcome.cost_ms == pytest.approx(12 + 2 + 2)


def test_selections_fill_blocks() -> None:
    outcome = assign(problem([np.asarray([3, 7, 9])], [1.0], copy=0.0, per_channel=0.0, align=4))
    (service,) = outcome.services
    assert service.positions is not None
    assert service.positions.size == 4
    assert np.isin([3, 7, 9], service.positions).all()


def test_a_block_that_takes_everything_is_no_selection() -> None:
    outcome = assign(problem([np.asarray([0, 5, 9])], [1.0], copy=0.0, per_channel=0.0, align=16))
    assert outcome.services[0].positions is None
    assert outcome.cost_ms == FULL
