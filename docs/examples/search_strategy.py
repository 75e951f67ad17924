"""A search strategy: from the best profile so far, move the share of one decision.

python docs/examples/search_strategy.py search in.onnx --data data.npz --out climbed --strategy climb --trials 50
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from upscale_onnx.cli.main import main
from upscale_onnx.searching.strategies import Setting, register
from upscale_onnx.searching.trials import History, Proposal

STEP, LEAST = 0.1, 0.1


@dataclass(frozen=True, eq=False)
class Climb:
    """Proposes neighbours of the best profile. All that it knows is in the history, so any process can go on."""

    setting: Setting

    def propose(self, history: History, number: int) -> Proposal:
        """As `Strategy` says."""
        rng = np.random.default_rng([self.setting.seed, number])
        decisions = self.setting.problem.decisions
        best = history.best(1)
        shares = list(best[0].proposal.shares if best else (1.0,) * decisions)
        place = int(rng.integers(decisions))
        shares[place] = float(np.clip(shares[place] + rng.choice((-STEP, STEP)), LEAST, 1.0))
        return Proposal(tuple(shares), "climb", seed=number)


register("climb", Climb)

if __name__ == "__main__":
    sys.exit(main())
