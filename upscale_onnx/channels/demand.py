"""Backward demand: which classes are demanded, and which nodes are needed.

A class is live if a live result reads it by a non-zero weight. Demand runs against the graph's order, and
ties carry it forward again (an Add makes its other operand live). So sweeps repeat until nothing
grows; two or three are usual.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from upscale_onnx.channels.flow import Read
from upscale_onnx.channels.step import Step
from upscale_onnx.model.fixpoint import fixpoint
from upscale_onnx.types import BoolArray, IntArray


def demand(
    steps: Sequence[Step], live: BoolArray, kept: BoolArray, outputs: frozenset[str]
) -> tuple[BoolArray, BoolArray, list[bool]]:
    """Grow `live` (demanded) and `kept` (present: demanded or padding) to what the graph needs.

    Returns live, kept and, per step, whether it is needed. `outputs` are the graph's outputs.

    Raises:
        NotSettledError: no fixpoint within the bound.
    """
    live, kept = live.copy(), kept | live
    needed = [False] * len(steps)

    def grows() -> bool:
        before = (int(live.sum()), int(kept.sum()), sum(needed))
        _sweep(steps, live, kept, needed, outputs)
        return before != (int(live.sum()), int(kept.sum()), sum(needed)) or _keep_one(steps, needed, kept)

    fixpoint(grows, 2 * len(steps) + 2, "demand")
    return live, kept, needed


def _sweep(
    steps: Sequence[Step], live: BoolArray, kept: BoolArray, needed: list[bool], outputs: frozenset[str]
) -> None:
    read: set[str] = set(outputs)
    for number in range(len(steps) - 1, -1, -1):
        step = steps[number]
        if not needed[number]:
            results = enumerate(step.outputs)
            needed[number] = any(_wanted(step, slot, name, read, kept, outputs) for slot, name in results)
        if not needed[number]:
            continue
        read.update(step.inputs)
        for labels in step.flow.fragile:
            live[labels[kept[labels]]] = True
        for item in step.flow.reads:
            _apply(item, live, kept)


def _keep_one(steps: Sequence[Step], needed: Sequence[bool], kept: BoolArray) -> bool:
    """Keep one channel of every input that has lost all, since a node cannot run without it. Returns whether there
    was such an input. This runs last, when no other demand can keep a channel."""
    grown = False
    for step, used in zip(steps, needed, strict=True):
        if not used or step.flow.droppable:
            continue
        for found in step.maps:
            if found is not None and found.labels.size and not kept[found.labels].any():
                kept[found.labels.flat[0]] = grown = True
    return grown


def _wanted(step: Step, slot: int, name: str, read: set[str], kept: BoolArray, outputs: frozenset[str]) -> bool:
    if name not in read:
        return False
    found = step.flow.outputs[slot]
    return name in outputs or found is None or bool(kept[found.labels].any())


def _apply(item: Read, live: BoolArray, kept: BoolArray) -> None:
    sources = item.sources
    if sources.size == 0:
        return
    rows: BoolArray | None = None
    if item.targets is not None:
        rows = live[item.targets]
        if not rows.any():
            return
    hit = _read_positions(item, rows)
    wanted = sources if hit is None else sources[hit]
    live[wanted] = True
    kept[wanted] = True


def _read_positions(item: Read, rows: BoolArray | None) -> BoolArray | None:
    """Which positions, `(n_in,)` bool, live rows read that are not foldable; None: all. `rows` None: all rows live."""
    hit = None if item.known is None else item.known.read_by(rows)
    if item.foldable is not None and item.foldable.any():
        hit = ~item.foldable if hit is None else hit & ~item.foldable
    return hit


def demanded_positions(item: Read, live: BoolArray) -> IntArray:
    """The positions along the read axis that live results read, ascending."""
    rows = None if item.targets is None else live[item.targets]
    if rows is not None and not rows.any():
        return np.zeros(0, np.int64)
    hit = _read_positions(item, rows)
    return np.arange(item.sources.size, dtype=np.int64) if hit is None else np.flatnonzero(hit)
