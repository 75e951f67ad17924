"""Demand against a closure that is taken one class at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs
from hypothesis import given
from hypothesis import strategies as st

from upscale_onnx.channels.channel_map import vector_map
from upscale_onnx.channels.demand import demand, demanded_positions
from upscale_onnx.channels.flow import Flow, Read
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.rules.barrier import BARRIER
from upscale_onnx.channels.step import Step

_WIDTH = 4


def step(number: int, sources: Sequence[int], pattern: np.ndarray, foldable: np.ndarray, share: bool) -> Step:
    """A node that reads a few values and makes value `number + 1`; with `share` its result has the classes of
    the value before."""
    inputs = tuple(f"v{source}" for source in sources)
    maps = tuple(vector_map(labels_of(source), np.full(_WIDTH, np.nan), 2, 1) for source in sources)
    target = labels_of(number + 1)
    out = vector_map(labels_of(number) if share else target, np.full(_WIDTH, np.nan), 2, 1)
    targets = out.labels.ravel()
    reads = tuple(Read(i, labels_of(s), targets, pattern[i], 1, foldable[i]) for i, s in enumerate(sources))
    return Step(gs.Node("Node"), Op("Node"), BARRIER, inputs, (f"v{number + 1}",), maps, Flow((out,), reads=reads))


def labels_of(value: int) -> np.ndarray:
    return np.arange(value * _WIDTH, (value + 1) * _WIDTH, dtype=np.int64)


@st.composite
def graphs(draw: st.DrawFn) -> list[Step]:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    steps = []
    for number in range(draw(st.integers(1, 6))):
        sources = sorted({int(rng.integers(0, number + 1)) for _ in range(2)})
        pattern = rng.random((2, _WIDTH, _WIDTH)) < 0.3
        foldable = rng.random((2, _WIDTH)) < 0.2
        steps.append(step(number, sources, pattern, foldable, bool(rng.random() < 0.3)))
    return steps


def closure(steps: list[Step], start: set[int]) -> set[int]:
    """Classes demanded by a live class through a weight, one at a time."""
    live = set(start)
    while True:
        grown = set(live)
        for one in steps:
            for read in one.flow.reads:
                assert read.targets is not None
                assert read.known is not None
                assert read.foldable is not None
                for row, column in np.argwhere(read.known.entries()):
                    if int(read.targets[row]) in live and not read.foldable[column]:
                        grown.add(int(read.sources[column]))
        if grown == live:
            return live
        live = grown


@given(graphs())
def test_what_is_demanded_is_the_closure(steps: list[Step]) -> None:
    last = steps[-1].flow.outputs[0]
    assert last is not None
    count = (len(steps) + 1) * _WIDTH
    start = np.zeros(count, bool)
    start[last.labels] = True
    live, kept, needed = demand(steps, start, start, frozenset(steps[-1].outputs))
    assert needed[-1]
    # A node that nobody needs demands nothing.
    used = [one for one, wanted in zip(steps, needed, strict=True) if wanted]
    assert set(np.flatnonzero(live).tolist()) == closure(used, set(np.flatnonzero(start).tolist()))
    assert (kept >= live).all()
    for one in used:
        for found in one.maps:
            assert found is not None
            assert kept[found.labels].any()
            padding = kept[found.labels] & ~live[found.labels]
            assert not (padding.any() and live[found.labels].any())
    for one, wanted in zip(steps, needed, strict=True):
        out = one.flow.outputs[0]
        assert out is not None
        readers = any(one.outputs[0] in reader.inputs for reader in used)
        assert wanted == (one is steps[-1] or (readers and bool(kept[out.labels].any())))


def test_positions_read_by_live_results() -> None:
    pattern = np.array([[True, False, True], [False, True, False]])
    read = Read(0, np.arange(3), np.array([3, 4]), pattern, 1, np.array([False, False, True]))
    live = np.array([False, False, False, True, False])
    assert demanded_positions(read, live).tolist() == [0]
    assert demanded_positions(read, ~live).tolist() == [1]
    assert demanded_positions(read, np.zeros(5, bool)).size == 0
    assert demanded_positions(Read(0, np.arange(3)), live).tolist() == [0, 1, 2]
