"""Random profiles: each share is drawn from U(0.3, 0.9), and all are scaled to a compression where one is asked for.

Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.candidates.families import at_compression, random_shares
from upscale_onnx.searching.strategies.registry import Setting
from upscale_onnx.searching.trials import History, Proposal, Shares

# The factor is aimed at from above, so that a constraint of it holds.
_ABOVE, _TOLERANCE = 1.1, 0.09


@dataclass(frozen=True, eq=False)
class Random:
    """Proposes random profiles. A trial's number decides which, whatever came before it."""

    setting: Setting

    def propose(self, history: History, number: int) -> Proposal:
        """As `Strategy` says."""
        del history
        rng = np.random.default_rng([self.setting.seed, number])
        shares = random_shares(self.setting.problem.decisions, rng)
        return Proposal(scaled(self.setting, shares), "random", seed=number)


def scaled(setting: Setting, shares: Shares) -> Shares:
    """`shares` at the compression that is asked for; as they are where none is, or it cannot be reached."""
    if setting.compression is None:
        return shares
    space = setting.problem.subjects[0].space
    found = at_compression(space, shares, _ABOVE * setting.compression, _TOLERANCE, _TOLERANCE)
    return shares if found is None else found.shares


make = Random
