"""Aiming at a measured latency through a predicted one."""

from __future__ import annotations

import math
from collections.abc import Callable

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.aware.allocator import Choice

_TRIALS = 5
# A measurement in this part below the goal is good enough: races are not more exact.
_CLOSE = 0.04
_EXACT = 1e-9


def aim_at(goal: float, choose: Callable[[float], Choice], measure: Callable[[Choice], float]) -> Choice:
    """The masks of least importance that are measured to meet `goal`, a share of the input's latency.

    choose: masks for a predicted share. measure: the real share under masks. What prediction and measurement
    are apart by is taken into the next prediction, within the interval that is left. Where no trial meets the
    goal, the fastest masks tried.

    Raises:
        ArgumentError: pruning all that may be pruned does not meet the goal.
    """
    met: Choice | None = None
    fastest: tuple[float, Choice] | None = None
    middle = (1.0 - _CLOSE / 2) * goal
    low, high, aim = 0.0, math.inf, middle
    for _ in range(_TRIALS):
        choice = choose(aim)
        ratio = measure(choice)
        if fastest is None or ratio < fastest[0]:
            fastest = ratio, choice
        if ratio > goal:
            if choice.latency > aim + _EXACT:  # no more can be pruned
                raise ArgumentError(
                    f"latency {goal:g} cannot be reached: pruning all that may go leaves {ratio:.2f} of the input's"
                )
            high = min(high, aim)
        else:
            if met is None or choice.importance < met.importance:
                met = choice
            if ratio >= (1.0 - _CLOSE) * goal:
                break
            low = max(low, aim)
            if choice.importance == 0.0:  # nothing had to be pruned
                break
        aim = _next(aim * middle / ratio, low, high)
    if met is not None:
        return met
    assert fastest is not None, "there is at least one trial"
    return fastest[1]


def _next(wanted: float, low: float, high: float) -> float:
    """`wanted`, or where it is outside of the interval its middle (what lies above 1 is nothing pruned)."""
    high = min(high, 1.0)
    return wanted if low < wanted < high else (low + high) / 2
