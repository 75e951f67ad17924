"""Taking moves back that a goal turns out not to need.

The last move of a greedy sequence often saves more than was missing. Some move before it can then be spared.
"""

from __future__ import annotations

from collections.abc import Sequence

from upscale_onnx.costs.costs import Costs
from upscale_onnx.masks.aware.network import CostedNetwork
from upscale_onnx.masks.aware.state import Move, PruningState

_MOST_TRIALS = 32
# Savings were predicted when the move was made; both sides of a layer having shrunk since, less of it is left.
_LEAST_LEFT = 0.5


def trimmed(network: CostedNetwork, costs: Costs, moves: Sequence[Move], allowed_ms: float) -> list[Move]:
    """`moves` without those, the costliest in importance first, that are not needed to stay within `allowed_ms`."""
    kept = list(moves)
    slack = allowed_ms - after(network, costs, kept).latency_ms
    trials = 0
    for move in sorted(moves, key=lambda move: -move.importance):
        if trials == _MOST_TRIALS or slack <= 0:
            break
        if _LEAST_LEFT * move.saved_ms > slack:
            continue
        trials += 1
        fewer = [other for other in kept if other is not move]
        left = allowed_ms - after(network, costs, fewer).latency_ms
        if left >= 0:
            kept, slack = fewer, left
    return kept


def after(network: CostedNetwork, costs: Costs, moves: Sequence[Move]) -> PruningState:
    """The state after `moves`."""
    state = PruningState(network, costs)
    for move in moves:
        state.apply(move)
    return state
