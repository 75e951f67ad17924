"""Profiles by rule, with which every search begins, so that none ends below them.

Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, section 3, for equal, increasing and
decreasing profiles. "global" is what comes of ranking the channels of all layers together, "descent" of lowering what
loses least for what it saves.
"""

from __future__ import annotations

from collections.abc import Callable

from upscale_onnx.candidates.families import shares_of
from upscale_onnx.masks.profiles import keep_ratios
from upscale_onnx.searching.descent import descended
from upscale_onnx.searching.goals import Goals
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.trials import Shares
from upscale_onnx.searching.units import Units

DESCENT = "descent"
_BY_AMOUNT = ("equal", "increasing", "decreasing", "global")
RULES = (DESCENT, *_BY_AMOUNT)
AMOUNTS = (0.4, 0.2, 0.6)
_MOST = 0.97
_LEAST = 1e-3  # of a decision: these rules take out no branch
_HALVINGS = 7


def starts(problem: Problem, goals: Goals) -> list[tuple[str, Shares]]:
    """The profiles of all rules, with what they are called: where sizes are limited, at the smallest amount that meets
    the limits; else at some amounts."""
    found = _limited(problem, goals) if goals.sizes else _at_amounts(problem, goals)
    profiles = {shares: source for source, shares in reversed(found) if shares is not None}
    return [(source, shares) for shares, source in reversed(profiles.items())]


def _limited(problem: Problem, goals: Goals) -> list[tuple[str, Shares | None]]:
    found: list[tuple[str, Shares | None]] = [(DESCENT, descended(Units(problem), goals.cost, goals.meets_sizes))]
    for rule in _BY_AMOUNT:

        def holds(amount: float, rule: str = rule) -> bool:
            return goals.meets_sizes(problem.sizes(by_rule(problem, rule, amount)))

        amount = _least(holds)
        if amount is not None:
            found.append((f"{rule} {amount:.3g}", by_rule(problem, rule, amount)))
    return found


def _at_amounts(problem: Problem, goals: Goals) -> list[tuple[str, Shares | None]]:
    units, found = Units(problem), list[tuple[str, Shares | None]]()
    for amount in AMOUNTS:

        def holds(measured: Measured, most: float = 1.0 - amount) -> bool:
            return measured.value(goals.cost) <= most

        found.append((f"{DESCENT} {amount:.3g}", descended(units, goals.cost, holds)))
        found += [(f"{rule} {amount:.3g}", by_rule(problem, rule, amount)) for rule in _BY_AMOUNT]
    return found


def by_rule(problem: Problem, rule: str, amount: float) -> Shares:
    """The profile of a rule that prunes `amount` (0 to 1)."""
    space = problem.subjects[0].space
    if rule == "global":
        shares = space.ranked_together(amount)
    else:
        shares = shares_of(keep_ratios(rule, space.decisions, amount), space.decisions)
    return tuple(max(share, _LEAST) for share in shares)


def _least(holds: Callable[[float], bool]) -> float | None:
    """The smallest amount at which `holds` says yes; None where it never does."""
    if not holds(_MOST):
        return None
    low, high = 0.0, _MOST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
