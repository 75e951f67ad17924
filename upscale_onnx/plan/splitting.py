"""Which values are computed in pieces, so that consumers read whole pieces and no selection is made for them.

A group holds values with the same channels: a convolution's result, what elementwise operators and poolings make of
it, a residual stream. It is cut into one piece for every set of consumers for which that saves time. Convolutions are
cut by rows. A consumer reads its pieces as a sum of convolutions, which runtimes fuse, or joined by a Concat, which
unlike a selection stays in the blocked layout. Nodes that read all channels read an additional Concat of all pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.flow import Role
from upscale_onnx.costs.costs import Costs, itemsize
from upscale_onnx.model import Shape
from upscale_onnx.plan.groups import ProducerGroup, find_groups
from upscale_onnx.plan.planner import ValuePlan, demanded_rows, plan_selections
from upscale_onnx.plan.selection import Demand
from upscale_onnx.types import BoolArray, IntArray

# More consumers form many sets, and each consumer could skip only little.
_MOST_CONSUMERS = 8
# The cost of adding to a sum, as a share of a Concat of the same size: it moves as many bytes, but in a warm cache.
_AGAIN = 0.2

# Per piece: which consumers read it, and which channels it holds, as positions among those present.
_Division = list[tuple[BoolArray, IntArray]]


@dataclass(frozen=True, eq=False)
class PieceRead:
    """How a consumer reads `pieces` (by index): as a sum of nodes, or joined by a Concat. ms: the predicted time."""

    item: Demand
    pieces: tuple[int, ...]
    summed: bool
    ms: float

    @property
    def lowering(self) -> str:
        """The name of this way to read in reports."""
        if len(self.pieces) == 1:
            return "split"
        return "split+add" if self.summed else "split+concat"


@dataclass(frozen=True, eq=False)
class ValueSplit:
    """A group of values in pieces.

    values: their names, in graph order. steps: the steps that compute them, by index into the analysis; each runs once
    per piece. pieces: per piece, positions along the channel axis; together they cover it. saved_ms: predicted saving.
    """

    values: tuple[str, ...]
    steps: tuple[int, ...]
    pieces: tuple[IntArray, ...]
    reads: tuple[PieceRead, ...]
    saved_ms: float


def part_name(node: str, piece: int) -> str:
    """The name of the part of a consumer that reads one of several pieces."""
    return f"{node}_part{piece}"


def plan_splits(
    analysis: Analysis, shapes: Mapping[str, Shape], costs: Costs, without: frozenset[str] = frozenset()
) -> tuple[ValueSplit, ...]:
    """The groups that are faster in pieces than with the selections planned for them, the largest saving first.

    Of groups that share a node only one is split. Groups with a value in `without` stay whole.
    """
    groups = [
        group
        for group in find_groups(analysis)
        if group.sound
        and len(group.items) <= _MOST_CONSUMERS
        and any(item.partial for item in group.items)
        and without.isdisjoint(group.values)
    ]
    if not groups:
        return ()
    plans = {plan.value: plan for plan in plan_selections(analysis, shapes, costs)}
    found = [_Search(analysis, shapes, costs, group, plans).best() for group in groups]
    chosen: list[ValueSplit] = []
    taken: set[int] = set()
    for split in sorted((split for split in found if split is not None), key=lambda split: -split.saved_ms):
        touched = {*split.steps, *(read.item.step for read in split.reads)}
        if taken.isdisjoint(touched):
            taken |= touched
            chosen.append(split)
    return tuple(chosen)


class _Search:
    """Searches the pieces of one group: adds sets of readers as long as the group gets faster."""

    def __init__(
        self,
        analysis: Analysis,
        shapes: Mapping[str, Shape],
        costs: Costs,
        group: ProducerGroup,
        plans: Mapping[str, ValuePlan],
    ) -> None:
        self._analysis, self._shapes, self._costs, self._group = analysis, shapes, costs, group
        self._present = group.items[0].present
        self._demand = np.stack([np.isin(self._present, item.positions) for item in group.items])
        self._rows = [demanded_rows(analysis, item) for item in group.items]
        self._times: dict[tuple[int, int, int], float] = {}
        full, own = self._present.size, [plans[name] for name in group.values if name in plans]
        planned = {item.step for plan in own for item in plan.items}
        read = [(item.step in planned, self._read_ms(number, full)) for number, item in enumerate(group.items)]
        # Plans also count the elementwise operators in front of a consumer, which splitting does not narrow.
        self._way_ms = sum(plan.direct_ms for plan in own) - sum(ms for known, ms in read if known)
        whole = sum(ms for known, ms in read if not known) + self._made_ms([full])
        self._now_ms = sum(plan.assignment.cost_ms for plan in own) + whole

    def best(self) -> ValueSplit | None:
        """The fastest way to cut the group; None where it is faster whole."""
        count, group = len(self._group.items), self._group
        sizes = {size for size in (0, 1, 2, count - 2, count - 1) if 0 <= size < count}
        options = [
            np.isin(np.arange(count), some) for size in sorted(sizes) for some in combinations(range(count), size)
        ]
        sets, best = [np.ones(count, bool)], self._now_ms
        while options:
            ms, number = min((self._ms(self._divided([*sets, some])), index) for index, some in enumerate(options))
            if ms >= best:
                break
            best = ms
            sets.append(options.pop(number))
        division = self._divided(sets)
        if len(division) < 2:
            return None
        pieces = [self._present[positions] for _, positions in division]
        # Dead channels go into the first piece. Their removal leaves as many of them as fill its last block.
        dead = np.setdiff1d(np.arange(self._analysis.maps[group.values[0]].labels.size), self._present)
        pieces[0] = np.sort(np.append(pieces[0], dead))
        reads = tuple(self._read(number, division) for number in range(count))
        return ValueSplit(tuple(group.values), tuple(group.steps), tuple(pieces), reads, self._now_ms - best)

    def _ms(self, division: _Division) -> float:
        if len(division) < 2:
            return np.inf
        read = sum(self._read(number, division).ms for number in range(len(self._group.items)))
        joined = sum(self._join_ms(name, self._present.size) for name in self._group.whole)
        return self._way_ms + read + joined + self._made_ms([positions.size for _, positions in division])

    def _made_ms(self, sizes: Sequence[int]) -> float:
        """The time to compute the group in pieces of these sizes. Operators other than contractions and poolings
        count as free, since they are fused into contractions."""
        total = 0.0
        for number in self._group.steps:
            step = self._analysis.steps[number]
            if step.flow.dense is not None:
                read = int(self._analysis.live[step.flow.dense.sources].sum())
                total += sum(self._contraction_ms(number, read, size) for size in sizes)
            elif step.flow.role is Role.POOLING:
                total += len(sizes) * self._join_ms(step.outputs[0], 0)
        return total

    def _read(self, number: int, division: _Division) -> PieceRead:
        """The faster way for a consumer to read the pieces that it needs."""
        item = self._group.items[number]
        mine = tuple(index for index, (readers, _) in enumerate(division) if readers[number])
        sizes = [division[index][1].size for index in mine]
        step = self._analysis.steps[item.step]
        again = self._join_ms(step.outputs[0], 0) + _AGAIN * self._join_ms(step.outputs[0], self._rows[number])
        summed = (len(mine) - 1) * again + sum(self._read_ms(number, size) for size in sizes)
        joined = self._read_ms(number, sum(sizes)) + self._join_ms(step.inputs[item.input], sum(sizes))
        adds = len(mine) == 1 or (step.flow.linear and summed <= joined)
        return PieceRead(item, mine, adds, summed if adds else joined)

    def _read_ms(self, number: int, channels: int) -> float:
        return self._contraction_ms(self._group.items[number].step, channels, self._rows[number])

    def _contraction_ms(self, step: int, channels_in: int, channels_out: int) -> float:
        key = (step, channels_in, channels_out)
        if key not in self._times:
            self._times[key] = self._costs.contraction_ms(self._analysis.steps[step].op, channels_in, channels_out)
        return self._times[key]

    def _join_ms(self, value: str, channels: int) -> float:
        shape, found = self._shapes[value], self._analysis.maps[value]
        axis = found.axes[0] if found.axes else 0
        return self._costs.join_ms(shape.dims, axis, channels, itemsize(shape.dtype))

    def _divided(self, sets: Sequence[BoolArray]) -> _Division:
        """The pieces for these sets of readers, the first of which holds all readers. A channel goes to the smallest
        set with all its readers. Every piece but the first fills whole blocks; the rest goes to a larger set."""
        order = sorted(range(len(sets)), key=lambda index: int(sets[index].sum()))
        home = np.full(self._present.size, -1)
        for index in order:
            home[(home < 0) & ~(self._demand & ~sets[index][:, None]).any(0)] = index
        for place, index in enumerate(order[:-1]):
            mine = np.flatnonzero(home == index)
            above = next(other for other in order[place + 1 :] if (sets[other] >= sets[index]).all())
            home[mine[mine.size - mine.size % self._costs.align :]] = above
        found = [(readers, np.flatnonzero(home == index)) for index, readers in enumerate(sets)]
        return [(readers, positions) for readers, positions in found if positions.size]
