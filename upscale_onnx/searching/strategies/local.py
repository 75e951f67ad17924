"""Local search: changes of the best profile so far by single units, within the limits of sizes.

Of changes drawn at random, the one is tried that loses least by the scores of its channels.

Source: Papadimitriou and Steiglitz, "Combinatorial Optimization: Algorithms and Complexity", 1982, chapter 19, for
local search by exchanges.
"""

from __future__ import annotations

import numpy as np

from upscale_onnx.searching.strategies.random import Random
from upscale_onnx.searching.strategies.registry import Setting
from upscale_onnx.searching.trials import History, Proposal, Shares, key
from upscale_onnx.searching.units import Units

_NAME = "local"
_BASES = 3  # of one objective: changes are of the best profile, or of one of the next best
_DRAWN, _LOOKED_AT = 32, 12
_MOST_CHANGED = 2  # decisions lowered, and as many raised


class Local:
    """Proposes changes of the best profiles. A trial's number and what came before it decide which."""

    def __init__(self, setting: Setting) -> None:
        self._setting, self._units = setting, Units(setting.problem)

    def propose(self, history: History, number: int) -> Proposal:
        """As `Strategy` says."""
        rng = np.random.default_rng([self._setting.seed, number])
        bases = history.leaders(_BASES)
        if bases:
            tried = {*history.known, *(key(trial.proposal.shares) for trial in history.running.values())}
            drawn = [self._changed(bases[int(rng.integers(len(bases)))].proposal.shares, rng) for _ in range(_DRAWN)]
            new = [shares for shares in dict.fromkeys(drawn) if key(shares) not in tried]
            for shares in self._ordered(new)[:_LOOKED_AT]:
                if self._setting.goals.meets_sizes(self._units.sizes(shares)):
                    return Proposal(shares, _NAME, seed=number)
        return Random(self._setting).propose(history, number)

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
