"""Greedy moves against every choice there is, and what an amount and a latency promise."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.masks.aware.networks import BLOCK, BlockPrices, chain
from tests.thorough import examples
from upscale_onnx.masks.aware.allocator import Allocator
from upscale_onnx.masks.aware.greedy import greedy_moves
from upscale_onnx.masks.aware.network import CostedNetwork
from upscale_onnx.masks.aware.spread import spread
from upscale_onnx.masks.aware.state import Move, PruningState
from upscale_onnx.masks.aware.trim import after, trimmed
from upscale_onnx.masks.select import lowest
from upscale_onnx.types import BoolArray, FloatArray

LEAST = 1 / 3


def scores_of(network: CostedNetwork) -> dict[str, tuple[str, FloatArray]]:
    return {layer.op.name: (layer.weight, np.sqrt(layer.channel_energy)) for layer in network.layers if layer.weight}


def allocator(network: CostedNetwork, prices: BlockPrices) -> Allocator:
    return Allocator(network, prices, scores_of(network), greedy_moves(network, prices, LEAST))


def loss(network: CostedNetwork, masks: dict[str, BoolArray]) -> float:
    """Importance lost, from its definition."""
    layers = [layer for layer in network.layers if layer.weight]
    return sum(layer.weighs * lost(layer.channel_energy[masks[layer.weight or ""]].sum()) for layer in layers)


def lost(kept: float) -> float:
    """What one layer loses where this share of its importance is left."""
    return float(max(-np.log(kept), 0.0) ** 1.5)


def every_choice(network: CostedNetwork) -> Iterator[tuple[float, float]]:
    """Latency and importance of every way to keep whole blocks of the best channels of each layer."""
    layers = [layer for layer in network.layers if layer.weight]
    costs = [layer.op.attrs["cost"] for layer in network.layers]
    options = []
    for layer in layers:
        least = int(np.ceil(LEAST * layer.channels))
        best = np.sort(layer.channel_energy)[::-1].cumsum()
        options.append([(k, best[k * BLOCK - 1]) for k in range(1, layer.channels // BLOCK + 1) if k * BLOCK >= least])
    for picked in itertools.product(*options):
        blocks = [1, *(k for k, _ in picked), 1]
        latency = sum(cost * a * b for cost, a, b in zip(costs, blocks, blocks[1:], strict=False))
        yield latency, sum(layer.weighs * lost(kept) for layer, (_, kept) in zip(layers, picked, strict=True))


@st.composite
def chains(draw: st.DrawFn) -> CostedNetwork:
    layers = draw(st.integers(1, 3))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    energies = [
        rng.gamma(draw(st.sampled_from([0.3, 2.0])), size=BLOCK * draw(st.integers(2, 6))) for _ in range(layers)
    ]
    weighs = [draw(st.sampled_from([0.25, 1.0])) for _ in range(layers)]
    return chain(energies, [float(draw(st.integers(1, 9))) for _ in range(layers + 1)], weighs)


@settings(max_examples=examples(150), deadline=None)
@given(network=chains(), goal=st.floats(0.3, 0.95))
def test_a_latency_is_met_where_any_choice_meets_it_and_costs_at_most_one_move_more(
    network: CostedNetwork, goal: float
) -> None:
    prices = BlockPrices()
    choices = list(every_choice(network))
    full = PruningState(network, prices).full_ms
    assert full == max(latency for latency, _ in choices)
    feasible = [importance for latency, importance in choices if latency <= goal * full]
    choice = allocator(network, prices).for_latency(goal)
    if not feasible:
        assert choice.latency == pytest.approx(min(latency for latency, _ in choices) / full)
        return
    best = min(feasible)
    largest = max(move.importance for move in greedy_moves(network, prices, LEAST))
    assert choice.latency <= goal + 1e-12
    assert best - 1e-9 <= choice.importance <= best + largest + 1e-9


def test_the_best_choice_is_found_on_most_chains() -> None:
    prices, exact, excess = BlockPrices(), 0, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        energies = [rng.gamma(0.5, size=BLOCK * int(n)) for n in rng.integers(2, 7, 3)]
        network = chain(energies, rng.integers(1, 9, 4).astype(float).tolist())
        full = PruningState(network, prices).full_ms
        best = min(importance for latency, importance in every_choice(network) if latency <= 0.7 * full)
        found = allocator(network, prices).for_latency(0.7).importance
        exact += found <= best + 1e-9
        excess.append(found / best)
    assert exact >= 30
    assert np.mean(excess) < 1.1


@settings(max_examples=examples(60), deadline=None)
@given(network=chains(), amount=st.floats(0.0, 0.9))
def test_an_amount_is_kept_in_all_and_loses_no_more_than_flat_masks(network: CostedNetwork, amount: float) -> None:
    flat = {weight: lowest(scores, amount) for weight, scores in scores_of(network).values()}
    choice = allocator(network, BlockPrices()).for_amount(amount)
    pruned = sum(int((~mask).sum()) for mask in choice.masks.values())
    assert pruned >= sum(int((~mask).sum()) for mask in flat.values())
    assert choice.importance == pytest.approx(loss(network, dict(choice.masks)), abs=1e-6)
    assert choice.importance <= loss(network, flat) + 1e-6
    assert all(mask.any() for mask in choice.masks.values())


def test_layers_that_are_all_alike_still_lose_whole_blocks() -> None:
    rng = np.random.default_rng(5)
    network = chain([rng.uniform(0.9, 1.0, 40), rng.uniform(0.9, 1.0, 40)], [1.0, 1.0, 1.0])
    assert allocator(network, BlockPrices()).for_amount(0.3).latency < 0.8


def test_pruning_is_deterministic() -> None:
    rng = np.random.default_rng(3)
    network = chain([rng.gamma(1.0, size=24), np.ones(32)], [3.0, 2.0, 5.0])
    first, second = (allocator(network, BlockPrices()).for_amount(0.4).masks for _ in range(2))
    assert all(np.array_equal(first[weight], second[weight]) for weight in first)


def test_moves_leave_whole_blocks_and_the_least_share() -> None:
    rng = np.random.default_rng(4)
    network = chain([rng.gamma(1.0, size=30), rng.gamma(1.0, size=16)], [1.0, 1.0, 1.0])
    state = PruningState(network, BlockPrices())
    for move in greedy_moves(network, BlockPrices(), LEAST):
        before = state.latency_ms, state.importance
        state.apply(move)
        assert state.inputs[1] % BLOCK == 0 or state.inputs[1] == 30
        assert state.inputs[2] % BLOCK == 0
        assert state.inputs[1:3] == state.outputs[:2]
        assert before[0] - state.latency_ms == pytest.approx(move.saved_ms)
        assert state.importance - before[1] == pytest.approx(move.importance)
    assert state.inputs[1:3] == [12, 8]


def test_a_selection_is_paid_where_the_value_cannot_shrink() -> None:
    network = chain([np.array([1.0] * 4 + [9.0] * 12)], [1.0, 50.0])
    locked = network.locked.copy()
    locked[network.bundles[0]] = True
    fixed = CostedNetwork(network.layers, locked, ())
    assert list(greedy_moves(fixed, BlockPrices(), LEAST)) == []
    moves = list(greedy_moves(fixed, BlockPrices(selection=1.0), LEAST))
    assert moves[0].layer == 1
    assert moves[0].saved_ms > 0
    state = after(fixed, BlockPrices(selection=1.0), moves[:1])
    assert state.outputs[0] == 16
    assert state.inputs[1] < 16


def test_what_the_goal_does_not_need_is_taken_back() -> None:
    network = chain([np.ones(8), np.ones(8)], [1.0, 1.0, 1.0])
    moves = list(greedy_moves(network, BlockPrices(), LEAST))
    assert len(moves) == 2
    state = PruningState(network, BlockPrices())
    assert len(trimmed(network, BlockPrices(), moves, state.full_ms)) == 0
    assert trimmed(network, BlockPrices(), moves, after(network, BlockPrices(), moves).latency_ms) == moves


@settings(max_examples=examples(60), deadline=None)
@given(network=chains(), missing=st.integers(0, 12))
def test_spreading_loses_least(network: CostedNetwork, missing: int) -> None:
    state = PruningState(network, BlockPrices())
    dropped, importance = spread(state, missing)
    layers = [layer for layer in network.layers if layer.weight]
    counts = [range(layer.channels) for layer in layers]
    best = min(
        sum(
            layer.weighs * lost(np.sort(layer.channel_energy)[k:].sum())
            for layer, k in zip(layers, picked, strict=True)
        )
        for picked in itertools.product(*counts)
        if sum(picked) == min(missing, sum(len(c) - 1 for c in counts))
    )
    assert importance == pytest.approx(best, abs=1e-9)
    assert sum(int(gone.sum()) for gone in dropped) == min(missing, sum(len(c) - 1 for c in counts))


def test_a_move_of_one_layer_alone_buries_what_nobody_else_reads() -> None:
    network = chain([np.arange(1.0, 9.0)], [1.0, 1.0])
    state = PruningState(network, BlockPrices(selection=0.0))
    touched = state.apply(Move(network.layers[1].atoms[:4], 1, 0.0, 1.0))
    assert touched == {0, 1}
    assert (state.inputs[1], state.outputs[0]) == (4, 4)
