"""Greedy search by sensitivity: from the unpruned model on, the decision is lowered that loses least for what it saves.

What lowering a decision costs only grows while others are lowered, so that old figures tell which ones to look at anew:
the lowest is measured again, and taken if it stays the lowest.

Source: Yang et al., "NetAdapt", ECCV 2018, for the walk; Minoux, "Accelerated Greedy Algorithms for Maximizing
Submodular Set Functions", 1978, for what is measured again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.strategies.random import Random
from upscale_onnx.searching.strategies.registry import Setting
from upscale_onnx.searching.trials import History, Proposal, Shares, key

STEP, LEAST = 0.1, 0.1
_NAME = "greedy"

Price = Callable[[Measured, Measured], tuple[float, float]]
"""What it costs to go from one profile to a smaller one: the lowest is taken."""


@dataclass(frozen=True, eq=False)
class Greedy:
    """Proposes the profiles of one walk from all to the least, then random ones."""

    setting: Setting

    def propose(self, history: History, number: int) -> Proposal | None:
        """As `Strategy` says."""
        running = {key(trial.proposal.shares) for trial in history.running.values()}
        wanted = list(walk(self.setting.problem.decisions, history.known, self._price))
        for shares in wanted:
            if key(shares) not in running:
                return Proposal(shares, _NAME, whole=True)
        return None if wanted else Random(self.setting).propose(history, number)

    def _price(self, before: Measured, after: Measured) -> tuple[float, float]:
        """What is lost per unit that is saved, and then how little is saved."""
        if before.accuracy is not None and after.accuracy is not None:
            loss = before.accuracy - after.accuracy
        else:
            loss = after.value("distance") - before.value("distance")
        saved = before.value(self.setting.goals.cost) - after.value(self.setting.goals.cost)
        return (max(loss, 0.0) / saved, -saved) if saved > 0 else (float("inf"), 0.0)


def walk(decisions: int, known: Mapping[Shares, Measured], price: Price) -> Iterator[Shares]:
    """The profiles that have to be known before the walk can go on, the most urgent first; none where it has ended."""
    base = (1.0,) * decisions
    if key(base) not in known:
        yield base
        return
    prices: dict[int, tuple[float, float]] = {}
    while True:
        probes = {place: _lowered(base, place) for place in range(decisions) if base[place] - STEP >= LEAST - 1e-9}
        if not probes:
            return
        missing = [place for place in probes if place not in prices and key(probes[place]) not in known]
        if missing:
            yield from (probes[place] for place in missing)
            return
        fresh: set[int] = set()
        while True:
            best = min(probes, key=lambda place: (prices.get(place, (-1.0, 0.0)), place))
            if best in fresh:
                break
            if key(probes[best]) not in known:
                ordered = sorted(probes, key=lambda place: (prices.get(place, (-1.0, 0.0)), place))
                yield from (probes[place] for place in ordered if key(probes[place]) not in known)
                return
            prices[best] = price(known[key(base)], known[key(probes[best])])
            fresh.add(best)
        base = probes[best]


def _lowered(shares: Shares, place: int) -> Shares:
    return tuple(round(share - STEP, 6) if number == place else share for number, share in enumerate(shares))


make = Greedy
