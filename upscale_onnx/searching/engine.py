"""A search: what it is about, and the trials of one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from upscale_onnx.searching.cache import Cache
from upscale_onnx.searching.callbacks import Callbacks
from upscale_onnx.searching.goals import Goals
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.starts import starts
from upscale_onnx.searching.strategies import Setting, Strategy, make_strategy
from upscale_onnx.searching.study import Study
from upscale_onnx.searching.trials import History, Proposal, Trial
from upscale_onnx.types import Progress

_PAUSE = 0.1  # seconds until a process asks again that has nothing to do


@dataclass(frozen=True)
class Plan:
    """How a search goes. strategy: its name. trials: how many there are to be in all, of all processes. seconds: after
    which no trial is begun. greedy: how many trials that strategy makes first. compression: that profiles are to have.
    callbacks: what is told of each finished trial, by the process that made it.
    """

    strategy: str = "tpe"
    trials: int = 100
    seconds: float | None = None
    greedy: int = 0
    compression: float | None = None
    seed: int = 0
    callbacks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Search:
    """A search for profiles in `folder`. It can be sent to other processes."""

    folder: Path
    problem: Problem
    goals: Goals
    plan: Plan

    @property
    def settings(self) -> dict[str, str]:
        """All that decides about the value of a profile, by the word for it."""
        subjects = self.problem.subjects
        found = {name: " ".join(one.digests[name] for one in subjects) for name in subjects[0].digests}
        found["objective"] = ",".join(self.goals.objectives)
        found["constraint"] = ",".join(map(str, self.goals.constraints))
        return found | {"choice": self.problem.choice, "seed": str(self.plan.seed)}

    def open(self) -> Study:
        """Its study.

        Raises: ArgumentError where the folder holds another search, or cannot be written to.
        """
        made = lambda: starts(self.problem, self.goals)  # noqa: E731
        return Study(self.folder, self.problem.decisions, self.goals, self.settings, made)

    def cache(self) -> Cache:
        """Results by the content of masks."""
        return Cache(self.folder / "cache.jsonl")

    def evaluate(self, proposal: Proposal, history: History | None, cache: Cache | None) -> Measured:
        """What a profile is worth. history: in which it may be seen that it is of no use."""
        gives_up = None if history is None or proposal.whole else history.is_hopeless
        return self.problem.evaluate(proposal.shares, proposal.seed, cache, gives_up)


class Proposer:
    """Decides what is tried next: what a killed process left, profiles by rule, and then what strategies propose."""

    def __init__(self, search: Search, study: Study) -> None:
        setting = Setting(search.problem, search.goals, search.plan.trials, search.plan.compression, search.plan.seed)
        self._plan, self._study = search.plan, study
        self._strategy: Strategy = make_strategy(search.plan.strategy, setting)
        self._greedy = make_strategy("greedy", setting) if search.plan.greedy else None

    def propose(self) -> Proposal | None:
        """The next profile; None where one that is running has to end first. Only in a turn."""
        history = self._study.history
        left = self._study.abandoned()
        if left is not None:
            return left.proposal
        running = [trial.proposal.source for trial in history.running.values()]
        for source, shares in self._study.starts:
            if source not in history.sources and source not in running:
                return Proposal(shares, source, whole=True)
        number = self._study.count
        if self._greedy is not None and history.sources.get("greedy", 0) + running.count("greedy") < self._plan.greedy:
            return self._greedy.propose(history, number)
        return self._strategy.propose(history, number)


def work(
    search: Search, study: Study, progress: Progress | None = None, until: Callable[[], bool] | None = None
) -> None:
    """Make trials until there are enough of all processes, or `until` says so, or the time is over."""
    proposer, cache, began = Proposer(search, study), search.cache(), time.monotonic()
    plan = search.plan
    callbacks = Callbacks(plan.callbacks)
    while True:
        with study.turn() as history:
            done, running = len(history.finished), len(history.running)
            tell(progress, done, plan)
            if done >= plan.trials or (until is not None and until()):
                return
            if plan.seconds is not None and time.monotonic() - began >= plan.seconds:
                return
            proposal = proposer.propose() if done + running < plan.trials or study.has_abandoned else None
            trial = None if proposal is None else study.begin(proposal)
        if trial is None:
            time.sleep(_PAUSE)
            continue
        perform(search, study, trial, cache)
        callbacks.tell(study, trial.number)


def perform(search: Search, study: Study, trial: Trial, cache: Cache) -> None:
    """Make one trial that is begun."""
    began = time.monotonic()
    try:
        measured = search.evaluate(trial.proposal, study.history, cache)
    except BaseException:
        study.fail(trial)
        raise
    study.finish(trial, measured, time.monotonic() - began)


def tell(progress: Progress | None, done: int, plan: Plan) -> None:
    """Say how far a search is."""
    if progress is not None:
        progress(f"search: trial {min(done + 1, plan.trials)} of {plan.trials}", min(done / plan.trials, 1.0))
