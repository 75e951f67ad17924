"""How a grouped contraction is computed once channels are gone: in which groups, of which channels, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, prod

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.demand import demanded_positions
from upscale_onnx.channels.step import Step
from upscale_onnx.costs.costs import Costs
from upscale_onnx.plan.even_groups import even_groups
from upscale_onnx.plan.group_costs import GroupCosts
from upscale_onnx.plan.packing import Packing, packed_anew, packed_in_order
from upscale_onnx.types import BoolArray, IntArray

# Channels are put into another order only if what is left of the time is less than this share.
_CLEARLY = 0.98
_Price = tuple[float, int]


@dataclass(frozen=True, eq=False)
class Grouping:
    """The groups in which a contraction is computed.

    inputs, outputs: the classes that are read and created, in order. count: the number of groups of one size; None: the
    groups that are there, of whatever sizes. moved: whether the classes are in another order than before. widened:
    whether groups have been put together.
    """

    inputs: IntArray
    outputs: IntArray
    count: int | None
    moved: bool
    widened: bool = False


@dataclass
class Grouper:
    """Decides on the groups of contractions, of which those in `held` keep the order of their channels.

    align: channels per block. costs: what decides between groups, where channels fill blocks; else groups keep their
    sizes, whatever these are. widens: whether the weights may be more than before, zeros among them.
    """

    analysis: Analysis
    align: int = 1
    costs: Costs | None = None
    widens: bool = True
    held: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._fixed = _fixed_by_others(self.analysis)
        self._shared = frozenset().union(*(groups.steps for groups in even_groups(self.analysis)))
        self._prices: dict[int, GroupCosts] = {}

    def fixed(self, groupings: Mapping[int, Grouping]) -> BoolArray:
        """Marks the classes whose order must stay, where these groupings are made."""
        fixed = self._fixed.copy()
        for number, step in enumerate(self.analysis.steps):
            if step.is_grouped and not (number in groupings and groupings[number].moved):
                for labels in step.flow.fixed:
                    fixed[labels] = True
        return fixed

    def decide(self, kept: BoolArray, live: BoolArray, needed: Sequence[bool]) -> dict[int, Grouping]:
        """The groupings, by step, that hold at least the classes `kept`, of which `live` are demanded."""
        found: dict[int, Grouping] = {}
        ordered = self._fixed.copy()
        for number, (step, used) in enumerate(zip(self.analysis.steps, needed, strict=True)):
            if not used or not step.is_grouped:
                continue
            inputs, outputs = step.flow.evens[0].parts
            both = np.concatenate([inputs.ravel(), outputs.ravel()])
            free = number not in self.held and not ordered[both].any()
            grouping = self._grouping(number, step, kept, live, free)
            found[number] = grouping
            ordered[both] = True
        return found

    def _grouping(self, number: int, step: Step, kept: BoolArray, live: BoolArray, free: bool) -> Grouping:
        inputs, outputs = step.flow.evens[0].parts
        if self.costs is None or self.align == 1:
            return _as_they_are(inputs, outputs, kept, free)
        if number in self._shared:
            return _as_they_are(inputs, outputs, kept, False)
        price = self._prices.get(number)
        if price is None:
            price = self._prices[number] = GroupCosts(self.analysis, step, self.costs)
        needed = [
            (labels[demanded_positions(read, live)], row[live[row]])
            for labels, row, read in zip(inputs, outputs, step.flow.reads, strict=False)
        ]
        most = inf if self.widens else inputs.shape[1] * outputs.size
        best = _cheapest(packed_in_order(inputs, outputs, kept, self.align), price, kept, most)
        if free:
            anew = _cheapest(packed_anew(needed, inputs.ravel(), outputs.ravel(), kept, self.align), price, kept, most)
            if anew is not None and (best is None or _clearly_less(anew[0], best[0])):
                best = anew
        return (
            _as_they_are(inputs, outputs, kept, False) if best is None else _grouping_of(best[1], kept, inputs.shape[1])
        )


def ordered_by(groupings: Mapping[int, Grouping], rank: IntArray) -> IntArray:
    """`rank`, changed so that the classes of groupings come in their order."""
    rank = rank.copy()
    for grouping in groupings.values():
        if grouping.moved:
            for labels in (grouping.inputs, grouping.outputs):
                rank[labels] = np.sort(rank[labels])
    return rank


def _fixed_by_others(analysis: Analysis) -> BoolArray:
    """Marks the classes whose order something else than the groups of a contraction decides."""
    fixed = np.zeros(analysis.live.size, bool)
    for name in (*analysis.inputs, *analysis.outputs):
        if name in analysis.maps:
            fixed[analysis.maps[name].labels] = True
    for step in analysis.steps:
        if not step.is_grouped:
            for labels in step.flow.fixed:
                fixed[labels] = True
    return fixed


def _as_they_are(inputs: IntArray, outputs: IntArray, kept: BoolArray, free: bool) -> Grouping:
    """The groups that are left; where their order is free, those of one size together."""
    sizes = list(zip(kept[inputs].sum(1).tolist(), kept[outputs].sum(1).tolist(), strict=True))
    order = sorted(range(len(sizes)), key=lambda row: sizes[row]) if free else list(range(len(sizes)))
    read, made = (labels[order].ravel() for labels in (inputs, outputs))
    left = [row for row in order if any(sizes[row])]
    return Grouping(read[kept[read]], made[kept[made]], None, left != sorted(left))


def _grouping_of(packing: Packing, kept: BoolArray, width: int) -> Grouping:
    read, made = (side.filled(kept).ravel() for side in (packing.inputs, packing.outputs))
    return Grouping(read, made, packing.sizes[0], packing.moved, packing.sizes[1] > width)


def _clearly_less(price: _Price, other: _Price) -> bool:
    return price[0] < _CLEARLY * other[0] or (price[0] == other[0] and price[1] < other[1])


def _cheapest(
    packings: Iterator[Packing], price: GroupCosts, kept: BoolArray, most: float
) -> tuple[_Price, Packing] | None:
    """The packing of the least price whose weight has at most so many entries."""
    priced = [(price.price(packing, kept), packing) for packing in packings if prod(packing.sizes) <= most]
    return min(priced, key=lambda item: item[0], default=None)
