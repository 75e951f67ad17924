"""PPO as a strategy of a search: it learns from trials, and is told them again where the search goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")

from upscale_onnx.errors import ArgumentError
from upscale_onnx.searching.engine import Plan, Search
from upscale_onnx.searching.goals import Goals
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.strategies import Setting, make_strategy
from upscale_onnx.searching.study import Study
from upscale_onnx.searching.trials import History, Trial
from upscale_onnx.searching.workers import work_together

GOALS = Goals(("accuracy",))


def proposed(study: Study) -> list[tuple[float, ...]]:
    study.update()
    return [one.proposal.shares for one in study.history.finished if one.proposal.source == "ppo"]


def done(search: Search, trials: int) -> list[tuple[float, ...]]:
    """The profiles of `ppo` after so many trials in all."""
    mine = replace(search, plan=Plan("ppo", trials, compression=2.0))
    study = mine.open()
    try:
        work_together(mine, study, 1)
        return proposed(study)
    finally:
        study.close()


def test_a_search_that_goes_on_proposes_what_one_that_was_not_stopped_does(
    search: Callable[..., Search],
) -> None:
    parts = search()
    whole = replace(parts, folder=parts.folder / "whole")
    expected = done(whole, 32)
    assert len(expected) >= 12  # an update of the policy lies within
    assert len(set(expected)) == len(expected)
    assert done(parts, 25) == expected[: len(expected) - 7]
    assert done(parts, 32) == expected


def test_the_policy_learns_the_compression(problem: Problem) -> None:
    strategy, history, found = make_strategy("ppo", Setting(problem, GOALS, 120, 2.0)), History(GOALS), list[float]()
    for number in range(120):
        proposal = strategy.propose(history, number)
        assert proposal is not None
        measured = problem.evaluate(proposal.shares, proposal.seed)
        found.append(measured.compression)
        history.end(Trial(number, proposal, "finished", measured))
    first, last = np.abs(np.log(found[:24]) - np.log(2.0)).mean(), np.abs(np.log(found[-24:]) - np.log(2.0)).mean()
    assert last < 0.7 * first


def test_what_it_needs_is_said(problem: Problem, unlabelled: Problem) -> None:
    for setting in (Setting(problem, GOALS, 10), Setting(unlabelled, GOALS, 10, 2.0)):
        with pytest.raises(ArgumentError, match="give --compression and --data"):
            make_strategy("ppo", setting)
