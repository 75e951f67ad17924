"""Local search: changes of the best profiles so far, within the limits of sizes.

Most change single units: of those drawn at random, the one is tried that loses least by the scores of its channels.
Others take out a whole branch, and give what that saves to other decisions. Scores say what a branch is worth alone;
what it is worth to a network that is repaired, only a trial tells.

Source: Papadimitriou and Steiglitz, "Combinatorial Optimization: Algorithms and Complexity", 1982, chapter 19, for
local search by exchanges.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from upscale_onnx.searching.descent import filled
from upscale_onnx.searching.strategies.random import Random
from upscale_onnx.searching.strategies.registry import Setting
from upscale_onnx.searching.trials import History, Proposal, Shares, key
from upscale_onnx.searching.units import Units

_NAME = "local"
_BASES = 3  # of one objective: changes are of the best profile, or of one of the next best
_DRAWN, _LOOKED_AT = 32, 12
_MOST_CHANGED = 2  # decisions lowered, and as many raised
_BRANCHES = 0.3  # the share of trials that take out a branch


class Local:
    """Proposes changes of the best profiles. A trial's number and what came before it decide which."""

    def __init__(self, setting: Setting) -> None:
        self._setting, self._units = setting, Units(setting.problem)

    def propose(self, history: History, number: int) -> Proposal:
        """As `Strategy` says."""
        rng = np.random.default_rng([self._setting.seed, number])
        bases = [trial.proposal.shares for trial in history.leaders(_BASES)]
        tried = {*history.known, *(key(trial.proposal.shares) for trial in history.running.values())}
        new = (shares for shares in self._changes(bases, rng) if key(shares) not in tried)
        for shares in islice(new, _LOOKED_AT if bases else 0):
            if self._setting.goals.meets_sizes(self._units.sizes(shares)):
                return Proposal(shares, _NAME, seed=number)
        return Random(self._setting).propose(history, number)

    def _changes(self, bases: list[Shares], rng: np.random.Generator) -> Iterator[Shares]:
        """Changes to try, in this order."""
        if rng.random() < _BRANCHES:
            yield from self._without_branch(bases[int(rng.integers(len(bases)))], rng)
        drawn = [self._changed(bases[int(rng.integers(len(bases)))], rng) for _ in range(_DRAWN)]
        yield from self._ordered(list(dict.fromkeys(drawn)))

    def _without_branch(self, shares: Shares, rng: np.random.Generator) -> Iterator[Shares]:
        there = [place for place in self._units.branches if shares[place] > 0]
        if there:
            place = int(rng.choice(there))
            left = (*shares[:place], 0.0, *shares[place + 1 :])
            goals = self._setting.goals
            yield filled(self._units, left, goals.meets_sizes, place) if goals.sizes else left

    def _ordered(self, drawn: list[Shares]) -> list[Shares]:
        """Of several objectives, one may be worth a loss: the order is that of the draws."""
        return drawn if len(self._setting.goals.objectives) > 1 else sorted(drawn, key=self._units.loss)

    def _changed(self, shares: Shares, rng: np.random.Generator) -> Shares:
        places = rng.permutation(len(shares)).tolist()
        lowered, raised = (int(count) for count in rng.integers(_MOST_CHANGED + 1, size=2))
        for number, place in enumerate(places[: lowered + raised]):
            change = self._units.lowered if number < lowered else self._units.raised
            shares = change(shares, place) or shares
        return shares


make = Local
