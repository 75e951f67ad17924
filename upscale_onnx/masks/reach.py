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
    if share(0.0) <= goal:
        return 0.0
    least = share(_MOST)
    if least > goal and not must:
        return _MOST
    if least > goal:
        raise ArgumentError(f"{name} {goal:g} cannot be reached: pruning all that may go leaves {least:.3f}")
    low, high = 0.0, _MOST
    for _ in range(_TRIALS):
        middle = (low + high) / 2
        found = share(middle)
        if found > goal:
            low = middle
            continue
        high = middle
        if found >= goal - _CLOSE * goal:
            break
    return high
