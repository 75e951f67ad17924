"""Searches: each strategy, several processes, and what a killed one leaves."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.profiles import keep_ratios
from upscale_onnx.searching.engine import Search, work
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.starts import RULES, by_rule
from upscale_onnx.searching.strategies import make_strategy
from upscale_onnx.searching.strategies.greedy import walk
from upscale_onnx.searching.study import Study
from upscale_onnx.searching.trials import Proposal
from upscale_onnx.searching.workers import work_together

Make = Callable[..., Search]


def finished(search: Search) -> Study:
    """The study after all trials."""
    study = search.open()
    work(search, study)
    study.close()
    study.update()
    return study


@pytest.mark.parametrize("strategy", ["random", "greedy", "tpe", "nsga2", "local"])
def test_no_search_ends_below_the_rules(search: Make, strategy: str) -> None:
    found = finished(search(strategy, 34)).history
    assert len(found.finished) == 34
    assert {rule for rule in RULES if any(source.startswith(rule) for source in found.sources)} == set(RULES)
    assert strategy in found.sources
    ruled = [one.measured for one in found.finished if one.proposal.source.split()[0] in RULES]
    for one in ruled:
        assert one is not None
        assert one.is_complete
        assert any(
            best.measured is not None and best.measured.accuracy >= one.accuracy and best.measured.macs <= one.macs
            for best in found.front
        )


def test_a_gaussian_process_proposes(search: Make) -> None:
    pytest.importorskip("torch")
    found = finished(search("gp", 30, objectives=("accuracy",), constrain="macs<=0.5")).history
    assert found.sources["gp"] >= 1


def test_constraints_are_met_and_known_to_the_sampler(search: Make) -> None:
    study = finished(search("tpe", 45, constrain="macs<=0.4"))
    late = [one for one in study.history.finished if one.proposal.source == "tpe"][-12:]
    assert sum(one.measured is not None and one.measured.macs <= 0.4 for one in late) >= 8
    assert all(one.measured is not None and one.measured.macs <= 0.4 for one in study.history.front)
    known = study.storage.get_all_trials(0)[-1].system_attrs["constraints"]
    assert len(known) == 1
    stopped = [one for one in study.history.finished if one.measured is not None and not one.measured.is_complete]
    assert stopped
    assert not {one.number for one in stopped} & {one.number for one in study.history.front}


def test_rules_meet_the_limits_of_sizes(search: Make) -> None:
    study = search(constrain="macs<=0.3").open()
    found = [search().problem.sizes(shares) for _, shares in study.starts[:4]]
    assert all(0.2 < one.macs <= 0.3 for one in found)
    study.close()


def test_rules_take_out_no_branch(problem: Problem) -> None:
    assert min(by_rule(problem, "increasing", 0.95)) > 0
    assert min(keep_ratios("increasing", problem.subjects[0].space.decisions, 0.95).values()) == 0


def test_random_profiles_have_the_compression(search: Make) -> None:
    found = finished(search("random", 24, "compression>=3", compression=3.0)).history
    drawn = [one.measured for one in found.finished if one.proposal.source == "random"]
    near = [one for one in drawn if one is not None and 3.0 <= one.compression <= 3.6]
    assert len(near) >= 0.8 * len(drawn) > 0  # of 8 and 12 channels, not every profile can be made to fit


def test_greedy_takes_what_loses_least(search: Make) -> None:
    found = finished(search("greedy", 24)).history
    profiles = [one.proposal.shares for one in found.finished if one.proposal.source == "greedy"]
    assert profiles[:3] == [(1.0, 1.0), (0.9, 1.0), (1.0, 0.9)]
    first, second = (found.known[one] for one in profiles[1:3])
    losses = [1 - one.value("accuracy") for one in (first, second)]
    saved = [1 - one.macs for one in (first, second)]
    prices = [loss / save if save > 0 else float("inf") for loss, save in zip(losses, saved, strict=True)]
    assert profiles[3][prices.index(min(prices))] == 0.8


def test_the_walk_measures_again_what_it_takes() -> None:
    known: dict[tuple[float, ...], float] = {}
    order = []
    while wanted := list(walk(3, known, lambda before, after: (after - before, 0.0))):  # type: ignore[arg-type]
        shares = wanted[0]
        order.append(shares)
        # The second costs most at first; the more the first one is lowered, the more it costs.
        known[shares] = 4 * (1 - shares[0]) ** 2 + 1.5 * (1 - shares[1]) + 0.5 * (1 - shares[2])
    assert order[-1] == (0.1, 0.1, 0.1)
    assert len(order) < 3 * 27


def test_a_search_goes_on_where_it_was_and_is_the_same(search: Make, tmp_path: Path) -> None:
    whole = [one.proposal.shares for one in finished(search("tpe", 32)).history.finished]
    (tmp_path / "out").rename(tmp_path / "whole")
    finished(search("tpe", 20))
    study = finished(search("tpe", 32))
    assert [one.proposal.shares for one in study.history.finished] == whole


def test_another_search_is_refused(search: Make, tmp_path: Path) -> None:
    finished(search(trials=2))
    other = search(trials=2, constrain="macs<=0.5")
    with pytest.raises(ArgumentError, match="holds a search of another constraint: choose another folder") as error:
        other.open()
    assert error.value.exit_code == 2
    (tmp_path / "out" / "study.journal").write_text("no journal\n")
    with pytest.raises(ArgumentError, match="is no journal of a search"):
        search().open()


def test_workers_share_a_search(search: Make) -> None:
    mine = search("random", 40)
    study = mine.open()
    work_together(mine, study, 2)
    study.update()
    assert len(study.history.finished) == 40
    assert len({one.proposal.shares for one in study.history.finished if one.proposal.source == "random"}) > 20
    study.close()


def test_a_killed_process_loses_no_finished_trial(search: Make) -> None:
    mine = search("random", 2000)
    other = multiprocessing.get_context("spawn").Process(target=finished, args=(mine,))
    other.start()
    watcher = mine.open()
    deadline = time.monotonic() + 60
    while len(watcher.history.finished) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
        watcher.update()
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    with watcher.turn() as history:
        before, running = len(history.finished), list(history.running.values())
    assert before >= 20
    few = replace(mine, plan=replace(mine.plan, trials=before + 3))
    began = time.monotonic()
    work(few, watcher)
    assert time.monotonic() - began < 20
    assert len(watcher.history.finished) == before + 3
    assert not watcher.history.running
    again = [one.proposal.shares for one in watcher.history.finished[before:]]
    assert all(one.proposal.shares in again for one in running)
    watcher.close()


def test_a_torn_journal_is_mended(search: Make, tmp_path: Path) -> None:
    finished(search(trials=3))
    path = tmp_path / "out" / "study.journal"
    path.write_bytes(path.read_bytes() + b'{"op_code": 6, "worker')
    assert len(finished(search(trials=5)).history.finished) == 5


def test_a_trial_that_fails_is_not_left_running(search: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = search(trials=3)
    study = mine.open()

    def broken(*args: object) -> None:
        raise ArgumentError("broken")

    monkeypatch.setattr(Search, "evaluate", broken)
    with pytest.raises(ArgumentError, match="broken"):
        work(mine, study)
    study.update()
    assert not study.history.running
    study.close()


def test_other_strategies_can_be_registered(search: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from upscale_onnx.searching.strategies import register, registry

    class Half:
        def propose(self, history: object, number: int) -> Proposal:
            return Proposal((0.5, 0.5), "half")

    monkeypatch.setattr(registry, "_OTHERS", {})
    register("half", lambda setting: Half())
    assert "half" in finished(search("half", 18)).history.sources
    with pytest.raises(ArgumentError, match="no strategy called 'hlaf', did you mean"):
        make_strategy("hlaf", None)  # type: ignore[arg-type]
