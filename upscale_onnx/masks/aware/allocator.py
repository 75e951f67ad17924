"""Masks chosen with the target in mind: whole blocks, where a millisecond costs least importance.

An amount is kept in all: the masks zero at least as many input channels, counted over all layers, as masks of
that amount of every layer for itself would, and lose less importance. With a latency they lose as little
importance as they can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.costs.costs import Costs
from upscale_onnx.costs.remembered import Remembered
from upscale_onnx.masks.aware.greedy import greedy_moves
from upscale_onnx.masks.aware.network import CostedNetwork, build_network
from upscale_onnx.masks.aware.predicted import importance
from upscale_onnx.masks.aware.spread import spread
from upscale_onnx.masks.aware.state import Move, PruningState
from upscale_onnx.masks.aware.trim import after, trimmed
from upscale_onnx.masks.pools import Masks
from upscale_onnx.masks.select import lowest
from upscale_onnx.types import BoolArray, FloatArray

# A third of its channels is the least that a layer keeps, and no layer loses more than twice the amount: with
# small amounts, losing a block of a narrow layer costs more accuracy than its share of importance tells.
_LEAST_SHARE = 1 / 3
_MOST_AMOUNTS = 2.0
# Losses are not known exactly: this share of what masks of every layer for itself lose may be lost, and accuracy is
# in nearly all cases not below theirs.
_SPENT = 0.8
# Of the time of the contractions, what masks save for each share of the channels: the operators between them, which
# are not predicted, save less.
_SAVED = 1.15
# Where layers are so alike that nothing can lose as little, blocks that add next to nothing are still taken.
_ABOVE_LEAST = 1.05
_NEARLY_NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class Choice:
    """Masks by weight (True = kept), and what is predicted of them.

    importance: what they lose. latency: predicted time of contractions and selections, of the input's.
    """

    masks: Masks
    importance: float
    latency: float


class Allocator:
    """Chooses masks along one sequence of moves, made as far as it is asked for."""

    def __init__(
        self, network: CostedNetwork, costs: Costs, scores: Mapping[str, tuple[str, FloatArray]], moves: Iterator[Move]
    ) -> None:
        self._network, self._costs, self._scores = network, costs, scores
        self._pending, self._made = moves, list[Move]()

    @property
    def full_ms(self) -> float:
        """The predicted time of the network of which nothing is pruned."""
        return PruningState(self._network, self._costs).full_ms

    def _moves(self) -> Iterator[Move]:
        yield from self._made
        for move in self._pending:
            self._made.append(move)
            yield move

    def flat(self, amount: float) -> dict[str, BoolArray]:
        """Masks of that amount of every layer for itself."""
        return {weight: lowest(scores, amount) for weight, scores in self._scores.values()}

    def for_amount(self, amount: float, part: float = 1.0) -> Choice:
        """Masks that prune as many input channels as that share of every layer, and lose less importance: whole
        blocks until `part` of the time is saved that an amount is to save, as predicted, or the importance is
        spent, and the rest where least is lost."""
        goal = 1.0 - _SAVED * part * amount
        flat = self.flat(amount)
        channels = sum(int((~flat[layer.weight]).sum()) for layer in self._network.layers if layer.weight)
        budget = self._budget(importance(self._network, flat), self._rounded_out((), channels)[2])
        low, high = 0, self._moves_to(goal, channels, budget)
        count = high
        while low < high:  # the most moves after which the rest is still within the budget
            if self._rounded_out(self._made[:count], channels)[2] <= budget:
                low = count
            else:
                high = count - 1
            count = (low + high + 1) // 2
        return self._choice(*self._rounded_out(self._trimmed(low, goal), channels), amount)

    def _budget(self, flat: float, least: float) -> float:
        """Importance to spend, where flat masks lose `flat` and no masks of the same amount less than `least`."""
        return min(max(_SPENT * flat, _ABOVE_LEAST * least), flat) + _NEARLY_NOTHING

    def for_latency(self, ratio: float) -> Choice:
        """The masks of least importance under which the predicted latency is at most `ratio` of the input's,
        or as near to it as pruning gets."""
        count = self._moves_to(ratio, channels=None, budget=np.inf)
        return self._choice(*self._rounded_out(self._trimmed(count, ratio), 0), 0.0)

    def _moves_to(self, goal: float, channels: int | None, budget: float) -> int:
        """After how many moves the goal is reached, or the channels or the importance are spent."""
        state = PruningState(self._network, self._costs)
        for count, move in enumerate(self._moves()):
            spent = state.importance > budget or (channels is not None and state.pruned >= channels)
            if spent or state.latency_ms <= goal * state.full_ms:
                return count
            state.apply(move)
        return len(self._made)

    def _trimmed(self, count: int, goal: float) -> Sequence[Move]:
        return trimmed(self._network, self._costs, self._made[:count], goal * self.full_ms)

    def _rounded_out(self, moves: Sequence[Move], channels: int) -> tuple[PruningState, Sequence[BoolArray], float]:
        """The state after `moves`, and what is dropped and lost when what is missing of `channels` goes too."""
        state = after(self._network, self._costs, moves)
        return state, *spread(state, channels - state.pruned)

    def _choice(self, state: PruningState, dropped: Sequence[BoolArray], importance: float, amount: float) -> Choice:
        masks = self.flat(amount)
        for layer, gone in zip(self._network.layers, dropped, strict=True):
            if layer.weight is not None:
                masks[layer.weight] = ~gone
        return Choice(masks, importance, state.latency_ms / state.full_ms if state.full_ms > 0 else 1.0)


def allocator(
    analysis: Analysis, costs: Costs, scores: Mapping[str, tuple[str, FloatArray]], amount: float | None = None
) -> Allocator:
    """An allocator for an analysed graph, whose weights still hold all their channels.

    scores: by node name, the weight and one score per channel it reads. amount: what will be asked for; None
    where that is a latency.
    """
    network, known = build_network(analysis, scores), Remembered(costs)
    return Allocator(network, known, scores, greedy_moves(network, known, _least_share(amount)))


def _least_share(amount: float | None) -> float:
    """Share of its channels that every layer keeps."""
    if amount is None:
        return _LEAST_SHARE
    return max(1.0 - _MOST_AMOUNTS * amount, min(_LEAST_SHARE, (1.0 - amount) / 2))
