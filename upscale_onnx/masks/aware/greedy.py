"""Pruning by importance per millisecond: the moves in the order in which they are worth making."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from upscale_onnx.costs.costs import Costs
from upscale_onnx.masks.aware.moves import Moves
from upscale_onnx.masks.aware.network import CostedNetwork
from upscale_onnx.masks.aware.state import Move, PruningState


def greedy_moves(network: CostedNetwork, costs: Costs, least_share: float) -> Iterator[Move]:
    """Moves until no layer can give more; each is the cheapest in importance per millisecond at its time.

    least_share: of its channels that every layer keeps at least.

    Source: Shen et al., "Structural Pruning via Latency-Saliency Knapsack", NeurIPS 2022, on importance per
    latency; here the latencies of both sides are re-evaluated after every move.
    """
    state = PruningState(network, costs)
    least = np.asarray([int(np.ceil(least_share * layer.channels)) for layer in network.layers], np.int64)
    moves = Moves(state, least, costs.align)
    watchers: list[list[tuple[int, int]]] = [[] for _ in network.layers]
    for bundle in range(moves.bundles):
        for number in moves.layers_of(bundle):
            watchers[number].append((0, bundle))
    for number in range(len(network.layers)):
        watchers[number].append((1, number))
    version: dict[tuple[int, int], int] = {}
    heap: list[tuple[float, int, int, int, Move]] = []
    stale = {key for keys in watchers for key in keys}
    while True:
        for key in sorted(stale):
            version[key] = version.get(key, 0) + 1
            move = moves.shared(key[1]) if key[0] == 0 else moves.own(key[1])
            if move is not None:
                heapq.heappush(heap, (move.price, *key, version[key], move))
        while heap and heap[0][3] != version[heap[0][1], heap[0][2]]:
            heapq.heappop(heap)
        if not heap:
            return
        move = heapq.heappop(heap)[4]
        yield move
        stale = {key for number in state.apply(move) for key in watchers[number]}
