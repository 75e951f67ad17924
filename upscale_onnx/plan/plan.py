"""The plan: for every node that stays, how it changes. Emissions run forward through the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.flow import Emissions, Misaligned, Request, Resize
from upscale_onnx.channels.grid import full_emission, is_full
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.step import Step
from upscale_onnx.errors import InternalError
from upscale_onnx.model.stored import WeightStore
from upscale_onnx.plan.emitted import Emitted, emitted_classes
from upscale_onnx.plan.grouping import Grouper, Grouping, ordered_by
from upscale_onnx.types import BoolArray, IntArray

# How many times the order is given up for one misaligned join alone, before it is given up for all classes.
_MOST_RETRIES = 32
# How many times classes are kept whole only where operands do not line up, before all classes are kept.
_MOST_WIDENINGS = 8


@dataclass(frozen=True, eq=False)
class Plan:
    """All decisions of one rewrite.

    resizes: per step of the analysis, how the node changes; None for a node that is removed. emissions:
    per value, what it holds after the rewrite.
    """

    analysis: Analysis
    emitted: Emitted
    resizes: tuple[Resize | None, ...]
    emissions: Mapping[str, IntArray]

    @cached_property
    def changed(self) -> frozenset[str]:
        """Values that do not hold all their channels in the original order, or are gone."""
        maps = self.analysis.maps
        return frozenset(
            name for name in maps if name not in self.emissions or not is_full(self.emissions[name], maps[name].shape)
        )


class _Chooser:
    """Kept classes in the order of `rank`, block by block; where any of them is fixed, in their original order."""

    def __init__(self, emitted: Emitted, fixed: BoolArray, rank: IntArray | None) -> None:
        self._emitted, self._fixed, self._rank = emitted, fixed, rank

    def positions(self, labels: IntArray) -> IntArray:
        index = np.flatnonzero(self._emitted.kept[labels])
        if self._rank is None or self._fixed[labels].any():
            return index
        rank = self._rank[labels[index]]
        if (rank[1:] >= rank[:-1]).all():
            return index
        return index[np.lexsort((rank, _blocks(labels)[index]))]

    def free(self, labels: IntArray) -> bool:
        return self._rank is not None and not self._fixed[labels].any()

    def live(self, labels: IntArray) -> BoolArray:
        return self._emitted.live[labels]


def _blocks(labels: IntArray) -> IntArray:
    """The number of the block in which each position lies. A block ends before a class would come in it again.

    The halves of a gated layer share their classes: sorted as one, they would interleave, and no Split could part them.
    """
    blocks = np.zeros(labels.size, np.int64)
    if np.unique(labels).size == labels.size:
        return blocks
    seen: set[int] = set()
    for position, label in enumerate(labels.tolist()):
        if label in seen:
            blocks[position] = 1
            seen.clear()
        seen.add(label)
    return np.cumsum(blocks)


def make_plan(analysis: Analysis, emitted: Emitted, rank: IntArray | None = None) -> Plan:
    """The plan that emits `emitted`, ordered by `rank` (per class id) where orders are free. The default
    order is that in which classes were created.

    A join whose operands cannot take the order keeps the original one.

    Raises:
        InternalError: operands do not line up even in the original order.
    """
    try:
        return _ordered(analysis, emitted, rank)
    except Misaligned as joined:
        raise InternalError(f"operands do not line up at {joined.node}") from joined


def settled_plan(
    analysis: Analysis,
    align: int = 1,
    rank: IntArray | None = None,
    grouper: Grouper | None = None,
    store: WeightStore | None = None,
) -> Plan:
    """The plan of the smallest emitted set under which all operands line up.

    Where they do not line up even in the original order, the classes at that place are kept whole. `grouper` decides on
    the groups of contractions, `store` takes the cut weights.

    Raises:
        InternalError: operands do not line up although every channel is there.
    """
    whole = np.zeros(analysis.live.size, bool)
    widenings = 0
    while widenings < _MOST_WIDENINGS:
        try:
            return _ordered(analysis, emitted_classes(analysis, align, whole, None, grouper), rank, grouper, store)
        except _Disordered as found:
            assert grouper is not None
            grouper.held.add(found.step)
        except Misaligned as joined:
            whole |= _around(analysis, joined.labels)
            widenings += 1
    return make_plan(analysis, emitted_classes(analysis, align, np.ones_like(whole)), rank)


def _ordered(
    analysis: Analysis,
    emitted: Emitted,
    rank: IntArray | None,
    grouper: Grouper | None = None,
    store: WeightStore | None = None,
) -> Plan:
    fixed = analysis.fixed.copy() if grouper is None else grouper.fixed(emitted.groupings)
    rank = ordered_by(emitted.groupings, np.arange(fixed.size) if rank is None else rank)
    for _ in range(_MOST_RETRIES):
        try:
            return _forward(analysis, emitted, _Chooser(emitted, fixed, rank), store)
        except Misaligned as joined:
            fixed |= _around(analysis, joined.labels)
    return _forward(analysis, emitted, _Chooser(emitted, fixed, None), store)


class _Disordered(Exception):
    """The channels of a grouped contraction, the step of this index, do not come in the order that was decided."""

    def __init__(self, step: int) -> None:
        super().__init__("channels are in another order")
        self.step = step


def _in_order(step: Step, given: Emissions, grouping: Grouping, choose: _Chooser) -> bool:
    """Whether the contraction reads and creates its channels in the order of its groups."""
    inputs, outputs = (part.ravel() for part in step.flow.evens[0].parts)
    held = given[step.flow.reads[0].input]
    reads = held is not None and np.array_equal(inputs[held.ravel()], grouping.inputs)
    return reads and np.array_equal(outputs[choose.positions(outputs)], grouping.outputs)


def _around(analysis: Analysis, labels: tuple[IntArray, ...]) -> BoolArray:
    """Marks these classes, and all classes that share an axis with them."""
    touched = np.zeros(analysis.fixed.size, bool)
    for array in labels:
        touched[array] = True
    shared = touched.copy()
    for step in analysis.steps:
        for found in step.flow.outputs:
            if found is not None and touched[found.labels].any():
                shared[found.labels] = True
    return shared


def _forward(analysis: Analysis, emitted: Emitted, choose: _Chooser, store: WeightStore | None) -> Plan:
    emissions: dict[str, IntArray] = {
        name: full_emission(analysis.maps[name].shape) for name in analysis.inputs if name in analysis.maps
    }
    resizes: list[Resize | None] = []
    for number, (step, used) in enumerate(zip(analysis.steps, emitted.needed, strict=True)):
        if not used:
            resizes.append(None)
            continue
        given = tuple(emissions.get(name) if name else None for name in step.inputs)
        grouping = emitted.groupings.get(number)
        if grouping is not None and grouping.moved and not _in_order(step, given, grouping, choose):
            raise _Disordered(number)
        try:
            count = None if grouping is None else grouping.count
            request = Request(step.maps, given, step.flow.outputs, choose, count, step.flow.inner)
            resize = step.rule.resize(step.op, request)
        except Misaligned as joined:
            joined.node = f"{step.op.op_type} {step.op.name}"
            raise
        except Refused as refused:
            # The rule accepts the node, but not with this selection in front of it: its channels stay whole.
            stuck = Misaligned(*(found.labels for found in (*step.maps, *step.flow.outputs) if found is not None))
            stuck.node = f"{step.op.op_type} {step.op.name}"
            raise stuck from refused
        # Outputs without an emission are not used.
        for name, found, emission in zip(step.outputs, step.flow.outputs, resize.outputs, strict=False):
            if name and found is not None:
                emissions[name] = emission
        resizes.append(resize if store is None else _stored(resize, store))
    return Plan(analysis, emitted, tuple(resizes), emissions)


def _stored(resize: Resize, store: WeightStore) -> Resize:
    """`resize` with its large weights in the store: all cut weights together take as much memory as the model."""
    return replace(resize, constants={index: store.kept(array) for index, array in resize.constants.items()})
