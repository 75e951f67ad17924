"""The trials of a search, and its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from upscale_onnx.searching.goals import Goals
from upscale_onnx.searching.measured import Measured
from upscale_onnx.types import BoolArray, FloatArray

Shares = tuple[float, ...]
State = Literal["running", "finished", "failed"]


@dataclass(frozen=True)
class Proposal:
    """A profile to try. source: who proposed it. whole: whether it is measured on all images whatever comes of it.
    seed: of random choices. notes: what its sampler wants to know of it later."""

    shares: Shares
    source: str
    whole: bool = False
    seed: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """A profile that is or was tried. measured: of those that are finished."""

    number: int
    proposal: Proposal
    state: State
    measured: Measured | None = None
    seconds: float = 0.0


@dataclass(eq=False)
class History:
    """All trials of a search so far, in the order in which they ended."""

    goals: Goals
    finished: list[Trial] = field(default_factory=list)
    running: dict[int, Trial] = field(default_factory=dict)
    front: list[Trial] = field(default_factory=list)
    known: dict[Shares, Measured] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    _gains: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))  # of the front

    def end(self, trial: Trial) -> None:
        """Add a trial that is finished."""
        assert trial.measured is not None
        self.finished.append(trial)
        self.known[key(trial.proposal.shares)] = trial.measured
        self.sources[trial.proposal.source] = self.sources.get(trial.proposal.source, 0) + 1
        if trial.measured.is_complete and self.goals.holds(trial.measured):
            self._to_front(trial)

    def is_hopeless(self, measured: Measured, most: float) -> bool:
        """Whether a profile whose accuracy is at most `most` is of no use: a constraint is missed, or a profile of the
        front is better."""
        bound = measured.with_accuracy(most)
        if not self.goals.holds(bound):
            return True
        values = np.array(self.goals.gains(bound))
        return bool(self.front) and bool(_better(self._gains, values).any())

    def best(self, count: int) -> list[Trial]:
        """The `count` best: of one objective those of the best values, of several the front and then the latest."""
        if len(self.goals.objectives) > 1:
            chosen = {trial.number: trial for trial in (*self.front, *reversed(self.finished))}
            return list(chosen.values())[:count]
        return sorted(self.finished, key=self._rank)[:count]

    def leaders(self, count: int) -> list[Trial]:
        """What a search ends with: of one objective the `count` best profiles that differ, of several the front."""
        if len(self.goals.objectives) > 1:
            return self.front
        found: dict[tuple[float, ...], Trial] = {}
        for trial in self.best(len(self.finished)):
            if trial.measured is not None and trial.measured.is_complete and self.goals.holds(trial.measured):
                found.setdefault(trial.measured.kept, trial)
        return list(found.values())[:count]

    def _rank(self, trial: Trial) -> tuple[float, float]:
        assert trial.measured is not None
        missed = sum(max(value, 0.0) for value in self.goals.violations(trial.measured))
        return missed, -self.goals.gains(trial.measured)[0]

    def _to_front(self, trial: Trial) -> None:
        assert trial.measured is not None
        own = np.array(self.goals.gains(trial.measured))
        if self.front:
            if (self._gains >= own).all(axis=1).any():
                return
            beaten = _better(own, self._gains)
            self.front = [one for one, is_beaten in zip(self.front, beaten, strict=True) if not is_beaten]
        self.front = sorted([*self.front, trial], key=self._place)
        self._gains = -np.array([self._place(one) for one in self.front])

    def _place(self, trial: Trial) -> list[float]:
        assert trial.measured is not None
        return [-value for value in self.goals.gains(trial.measured)]


def key(shares: Sequence[float]) -> Shares:
    """A profile as a key: without what is lost when numbers are written down."""
    return tuple(round(share, 6) for share in shares)


def _better(one: FloatArray, other: FloatArray) -> BoolArray:
    """Row by row, whether `one` is at least as good in all and better in some; larger is better."""
    return np.asarray((one >= other).all(axis=-1) & (one > other).any(axis=-1))
