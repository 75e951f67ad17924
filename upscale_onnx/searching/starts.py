"""Profiles by rule, with which every search begins, so that none ends below them.

Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, section 3, for equal, increasing and
decreasing profiles. "global" is what comes of ranking the channels of all layers together.
"""

from __future__ import annotations

from upscale_onnx.candidates.families import shares_of
from upscale_onnx.masks.profiles import keep_ratios
from upscale_onnx.searching.goals import Goals
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.trials import Shares

RULES = ("equal", "increasing", "decreasing", "global")
AMOUNTS = (0.4, 0.2, 0.6)
_MOST = 0.97
_HALVINGS = 7


def starts(problem: Problem, goals: Goals) -> list[tuple[str, Shares]]:
    """The profiles of all rules, with what they are called: where sizes are limited, at the smallest amount that meets
    the limits; then at some amounts."""
    found = []
    if goals.sizes:
        found = [(rule, amount) for rule in RULES if (amount := _least(problem, goals, rule)) is not None]
    found += [(rule, amount) for amount in AMOUNTS for rule in RULES]
    profiles = {by_rule(problem, rule, amount): f"{rule} {amount:.3g}" for rule, amount in reversed(found)}
    return [(source, shares) for shares, source in reversed(profiles.items())]


def by_rule(problem: Problem, rule: str, amount: float) -> Shares:
    """The profile of a rule that prunes `amount` (0 to 1)."""
    space = problem.subjects[0].space
    if rule == "global":
        return space.ranked_together(amount)
    return shares_of(keep_ratios(rule, space.decisions, amount), space.decisions)


def _least(problem: Problem, goals: Goals, rule: str) -> float | None:
    """The smallest amount at which the limits of sizes hold; None where none does."""

    def holds(amount: float) -> bool:
        measured = problem.sizes(by_rule(problem, rule, amount))
        return all(one.violation(measured, 1.0) <= 0 for one in goals.sizes)

    if not holds(_MOST):
        return None
    low, high = 0.0, _MOST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
