"""Proposals of optuna's samplers. Each process keeps a study of its own in memory, with a window of the trials.

What a sampler takes for a proposal grows with the trials that it looks at, with a Gaussian process by their third
power. It looks at the best and at the latest.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from upscale_onnx.searching.journal import optuna
from upscale_onnx.searching.strategies.random import Random
from upscale_onnx.searching.strategies.registry import Setting
from upscale_onnx.searching.study import space_of
from upscale_onnx.searching.trials import History, Proposal, Trial

STARTUP = 10
"""How many trials there are, at random behind those that the search begins with, before a sampler is asked."""

Sampler = Callable[[int, bool], Any]
"""Makes a sampler of a seed. It is also told whether there are constraints."""


class Sampled:
    """Proposals of a sampler.

    window: how many trials it looks at, to twice as many. population: how many trials of any source it begins with,
    where it is a genetic algorithm. generation: under which name it looks for the generation of a trial; those of
    others are of the first. is_kept: whether one sampler makes all proposals, because it goes on from what it computed
    for the last one; else each has one of its own, and depends on the history alone. around: makes a context for its
    work.
    """

    def __init__(
        self,
        name: str,
        sampler: Sampler,
        setting: Setting,
        window: int,
        *,
        population: int = 0,
        generation: str = "",
        is_kept: bool = False,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._name, self._make, self._setting, self._window = name, sampler, setting, window
        self._population, self._others = population, {generation: 0} if generation else {}
        self._is_kept, self._around = is_kept, around
        self._space = space_of(setting.problem.decisions)
        self._study: Any = None
        self._sampler: Any = None
        self._seen = self._held = 0

    def propose(self, history: History, number: int) -> Proposal:
        """As `Strategy` says."""
        if self._is_first(history):
            return Random(self._setting).propose(history, number)
        self._update(history)
        seed = int(np.random.default_rng([self._setting.seed, number]).integers(2**31))
        with warnings.catch_warnings(), self._around():
            warnings.simplefilter("ignore")  # optuna's announcements
            if self._sampler is None or not self._is_kept:
                self._sampler = self._make(seed, bool(self._setting.goals.constraints))
            self._study.sampler = self._sampler
            asked = self._study.ask(self._space)
            shares = tuple(asked.params[name] for name in self._space)
            notes = dict(self._study.get_trials(deepcopy=False)[asked.number].system_attrs)
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
        return Proposal(shares, self._name, seed=number, notes=notes)

    def _is_first(self, history: History) -> bool:
        if self._population:
            return len(history.finished) < self._population
        return sum(history.sources.get(name, 0) for name in ("random", self._name)) < STARTUP

    def _update(self, history: History) -> None:
        new = history.finished[self._seen :]
        if self._study is None or self._held + len(new) > 2 * self._window:
            directions = [optuna.study.StudyDirection[word.upper()] for word in self._setting.goals.directions]
            self._study = optuna.create_study(directions=directions, sampler=optuna.samplers.RandomSampler())
            best = history.best(self._window // 2)
            latest = history.finished[len(history.finished) - self._window // 2 :]
            new = sorted({trial.number: trial for trial in (*best, *latest)}.values(), key=lambda one: one.number)
            self._held, self._sampler = 0, None
        for trial in new:
            self._study.add_trial(self._mirrored(trial))
        self._seen, self._held = len(history.finished), self._held + len(new)

    def _mirrored(self, trial: Trial) -> Any:
        assert trial.measured is not None
        goals = self._setting.goals
        constraints = {"constraints": goals.violations(trial.measured)} if goals.constraints else {}
        return optuna.trial.create_trial(
            params=dict(zip(self._space, trial.proposal.shares, strict=True)),
            distributions=self._space,
            values=goals.values(trial.measured),
            system_attrs={**self._others, **trial.proposal.notes, **constraints},
        )


def violations(trial: Any) -> Any:
    """What a sampler is told about the constraints of a trial."""
    return trial.system_attrs["constraints"]
