"""The profile by descent: from the unpruned model on, the decision is lowered by a unit that loses least for what it
saves. Losses are those of scores, savings those of compiled models: no image is looked at.

What lowering a decision costs grows while others are lowered, so that old figures tell which one to look at anew.

Source: Yang et al., "NetAdapt", ECCV 2018, for the walk; Minoux, "Accelerated Greedy Algorithms for Maximizing
Submodular Set Functions", 1978, for what is looked at again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.trials import Shares
from upscale_onnx.searching.units import Units

Holds = Callable[[Measured], bool]


def descended(units: Units, cost: str, holds: Holds) -> Shares | None:
    """The first profile on the way down of whose sizes `holds` says yes, with the units that it has no need to lose;
    None where there is none. cost: the size by which savings count."""
    shares: Shares = (1.0,) * units.problem.decisions
    prices = dict.fromkeys(range(len(shares)), 0.0)
    while not holds(units.sizes(shares)):
        fresh: set[int] = set()
        while (place := min(prices, key=lambda one: prices[one])) not in fresh:
            prices[place] = _price(units, shares, units.lowered(shares, place), cost)
            fresh.add(place)
        lowered = units.lowered(shares, place)
        if lowered is None or prices[place] == math.inf:
            return None
        shares = lowered
    return filled(units, shares, holds)


def filled(units: Units, shares: Shares, holds: Holds, without: int | None = None) -> Shares:
    """`shares` with all units again with which `holds` still says yes, first those without which most is lost.
    without: a place that stays as it is."""
    places = set(range(len(shares))) - {without}
    while able := {place: more for place in places if (more := units.raised(shares, place)) is not None}:
        place = min(able, key=lambda one: units.loss(able[one]))
        if holds(units.sizes(able[place])):
            shares = able[place]
        else:
            places.discard(place)
    return shares


def _price(units: Units, before: Shares, after: Shares | None, cost: str) -> float:
    """What is lost for what is saved."""
    if after is None:
        return math.inf
    lost = units.loss(after) - units.loss(before)
    saved = units.sizes(before).value(cost) - units.sizes(after).value(cost)
    return lost / saved if saved > 0 and math.isfinite(lost) else math.inf
