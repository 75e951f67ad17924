"""The least amount that reaches a size."""

from __future__ import annotations

from collections.abc import Callable

from upscale_onnx.errors import ArgumentError

_TRIALS = 16
# The search may end this much below the goal: one channel of a small network is a larger share.
_CLOSE = 0.002
_MOST = 1.0 - 1e-6


def least_amount(goal: float, share: Callable[[float], float], name: str, must: bool = True) -> float:
    """The least amount (0 to 1) found at which `share(amount)` is at most `goal`. The share falls as the amount grows.

    name: of what is shared, for the error. must: whether there is one; otherwise the largest amount will do where
    no amount reaches the goal.

    Raises: ArgumentError where `must` is set and no amount reaches the goal.
    """
    found = bisected(share, goal, 0.0, _MOST, _TRIALS, _CLOSE)
    if found is None and must:
        raise ArgumentError(f"{name} {goal:g} cannot be reached: pruning all that may go leaves {share(_MOST):.3f}")
    return _MOST if found is None else found


def bisected(
    share: Callable[[float], float], goal: float, low: float, high: float, trials: int, close: float = 0.0
) -> float | None:
    """The least amount found between `low` and `high` at which `share(amount)` is at most `goal`; None where there is
    none. It may end as much below the goal as the share `close` of it."""
    if share(low) <= goal:
        return low
    if share(high) > goal:
        return None
    for _ in range(trials):
        middle = (low + high) / 2
        found = share(middle)
        if found > goal:
            low = middle
            continue
        high = middle
        if found >= goal - close * goal:
            break
    return high
