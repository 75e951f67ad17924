"""Profiles by descent, in units, and the local search from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, cast

import numpy as np
import pytest

from upscale_onnx.searching.descent import descended, filled
from upscale_onnx.searching.engine import Search, work
from upscale_onnx.searching.goals import Constraint, Goals
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.strategies import Setting, make_strategy
from upscale_onnx.searching.trials import History, Proposal, Trial
from upscale_onnx.searching.units import Units

# Eight units of eight channels in each decision. What a unit costs grows with what is gone, as it does in networks.
CURVES = tuple(weight * np.square(np.arange(64, -1, -1) / 64) for weight in (1.0, 4.0, 2.0))
TIMES = np.array([1.0, 2.0, 1.0])


@dataclass(frozen=True)
class _Decision:
    channels: int = 64


@dataclass(frozen=True)
class _Space:
    decisions: tuple[_Decision, ...] = (_Decision(),) * 3
    losses: tuple[Any, ...] = CURVES
    unit: int = 8
    branches: Mapping[int, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Subject:
    space: _Space = _Space()


@dataclass
class _Problem:
    """Three decisions whose time is the sum of what each keeps."""

    subjects: tuple[_Subject, ...] = (_Subject(),)
    decisions: int = 3
    asked: int = 0

    def sizes(self, shares: tuple[float, ...]) -> Measured:
        self.asked += 1
        time = float(TIMES @ np.array(shares)) / float(TIMES.sum())
        return Measured(time, time, 1 / time, shares, latency=time)


def units(unit: int = 8) -> Units:
    """The units of a problem in which these many channels are one."""
    return Units(cast(Problem, _Problem((_Subject(_Space(unit=unit)),))))


def test_units_are_whole_blocks_and_no_more_than_eight() -> None:
    assert units().lowered((1.0, 1.0, 0.6), 2) == (1.0, 1.0, 32 / 64)
    assert units().raised((1.0, 1.0, 0.6), 2) == (1.0, 1.0, 40 / 64)
    assert units().lowered((8 / 64, 1.0, 1.0), 0) is None
    assert units().raised((0.25, 1.0, 1.0), 1) is None
    assert units(1).lowered((1.0, 1.0, 1.0), 0) == (56 / 64, 1.0, 1.0)
    assert units(24).lowered((1.0, 1.0, 1.0), 0) == (48 / 64, 1.0, 1.0)
    assert units(24).raised((48 / 64, 1.0, 1.0), 0) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("bound", [0.9, 0.7, 0.5, 0.3])
def test_no_profile_of_whole_units_loses_less_than_the_one_by_descent(bound: float) -> None:
    known = units()
    found = descended(known, "latency", lambda measured: measured.value("latency") <= bound)
    assert found is not None
    assert known.sizes(found).value("latency") <= bound
    able = [one for one in product(np.arange(1, 9) / 8, repeat=3) if known.sizes(one).value("latency") <= bound]
    assert known.loss(found) <= 1.1 * min(map(known.loss, able))


def test_no_unit_is_lost_without_need() -> None:
    known = units()
    found = descended(known, "latency", lambda measured: measured.value("latency") <= 0.6)
    assert found is not None
    more = [known.raised(found, place) for place in range(3)]
    assert all(one is None or known.sizes(one).value("latency") > 0.6 for one in more)
    assert filled(known, (0.25, 0.25, 0.25), lambda measured: True) == (1.0, 1.0, 1.0)


def test_what_cannot_be_reached_has_no_descent() -> None:
    assert descended(units(), "latency", lambda measured: measured.value("latency") < 0.12) is None


def test_nothing_is_measured_twice() -> None:
    known = units()
    descended(known, "latency", lambda measured: measured.value("latency") <= 0.5)
    assert cast(Any, known.problem).asked == len(known._sizes) < 60


def test_a_branch_can_go_and_takes_what_it_was_fed_by() -> None:
    known = Units(cast(Problem, _Problem((_Subject(_Space(branches={1: frozenset({0, 1})})),))))
    assert known.lowered((1.0, 8 / 64, 1.0), 1) == (1.0, 0.0, 1.0)
    assert known.lowered((1.0, 0.0, 1.0), 1) is None
    assert known.raised((1.0, 0.0, 1.0), 1) == (1.0, 8 / 64, 1.0)
    assert known.lowered((8 / 64, 1.0, 1.0), 0) is None
    assert known.lowered((1.0, 0.0, 1.0), 0) is known.raised((0.5, 0.0, 1.0), 0) is None
    assert known.loss((0.5, 0.0, 1.0)) == CURVES[1][0]
    assert known.loss((0.5, 8 / 64, 1.0)) == CURVES[0][32] + CURVES[1][8]


def test_local_search_stays_within_the_limits_and_repeats_nothing(search: Callable[..., Search]) -> None:
    made = search("local", 30, "macs<=0.5", objectives=("accuracy",))
    study = made.open()
    work(made, study)
    study.close()
    study.update()
    tried = [one for one in study.history.finished if one.proposal.source == "local"]
    assert len(tried) >= 10
    assert all(one.measured is not None and one.measured.macs <= 0.5 for one in tried)
    assert len({one.proposal.shares for one in tried}) == len(tried)


def test_local_search_takes_out_branches_and_gives_to_others_what_that_saves() -> None:
    space = _Space(branches={1: frozenset({0, 1}), 2: frozenset({2})})
    problem = cast(Any, _Problem((_Subject(space),)))
    goals = Goals(("accuracy",), (Constraint.parse("latency<=0.5"),))
    strategy, history = make_strategy("local", Setting(problem, goals, 40)), History(goals)
    start = (0.5, 0.5, 0.5)
    history.end(Trial(0, Proposal(start, "descent"), "finished", replace(problem.sizes(start), accuracy=0.5)))
    tried = [strategy.propose(history, number) for number in range(40)]
    without = [one.shares for one in tried if one is not None and one.shares[1] == 0]
    assert 5 <= len(without) <= 20
    assert set(without) == {(0.5, 0.0, 1.0)}
    assert all(one is not None and one.source == "local" for one in tried)
    assert all(one is not None and problem.sizes(one.shares).value("latency") <= 0.5 for one in tried)
