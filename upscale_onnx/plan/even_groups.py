"""Grouped contractions that share channels: what is kept of them so that the groups of each stay of one size.

Filled one by one, the groups of one contraction would lose their size to those of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy  # its parts are imported when they are used

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.classes import connected, occurrences
from upscale_onnx.types import BoolArray, FloatArray, IntArray

_Side = tuple[int, IntArray, IntArray]
# Where the search would take longer, each contraction is filled for itself.
_SEARCH = {"node_limit": 1000}


@dataclass(frozen=True, eq=False)
class EvenGroups:
    """Sides of contractions that share channels.

    steps: the contractions. grids: `(groups, channels)`, the classes of each side, and those of the sides opposite.
    values: the classes of each value with some of these channels that weights create.
    """

    steps: frozenset[int]
    grids: tuple[tuple[IntArray, IntArray], ...]
    values: tuple[IntArray, ...]

    def missing(self, kept: BoolArray, align: int, worth: FloatArray | None = None) -> IntArray:
        """The fewest classes to keep beside `kept` so that all groups in use of a side keep as many channels, and every
        value whole blocks of `align`, or all it has. No class where that cannot be. Those of most `worth` come first.
        """
        used = [grid[kept[grid].any(1) | kept[opposite].any(1)] for grid, opposite in self.grids]
        ids = np.unique(np.concatenate([grid.ravel() for grid, _ in self.grids]))
        counts = np.concatenate([occurrences(rows, ids) for rows in (*used, *(value[None] for value in self.values))])
        beside = [int(kept[np.setdiff1d(value, ids)].sum()) for value in self.values]
        key = np.vstack([counts, kept[ids]])
        cells, cell, sizes = np.unique(key, axis=1, return_inverse=True, return_counts=True)
        added = _least(
            cells.tobytes(), len(cells), tuple(sizes.tolist()), tuple(map(len, used)), tuple(beside),
            tuple(value.size for value in self.values), align,
        )  # fmt: skip
        order = np.zeros(ids.size) if worth is None else -worth[ids]
        chosen = [ids[:0]]
        for number in np.flatnonzero(added):
            members = np.flatnonzero(cell == number)
            chosen.append(ids[members[np.argsort(order[members], kind="stable")[: added[number]]]])
        return np.concatenate(chosen)


def even_groups(analysis: Analysis) -> tuple[EvenGroups, ...]:
    """The grouped contractions that share channels with others."""
    sides: list[_Side] = []
    for number, (step, needed) in enumerate(zip(analysis.steps, analysis.needed, strict=True)):
        if needed and step.is_grouped:
            read, made = step.flow.evens[0].parts
            sides += [(number, read, made), (number, made, read)]
    found = [[sides[index] for index in shared] for shared in connected([(part,) for _, part, _ in sides])]
    several = [some for some in found if len({number for number, _, _ in some}) > 1]
    values = _created(analysis) if several else ()
    return tuple(_even(some, values) for some in several)


def _even(some: Sequence[_Side], made: Sequence[IntArray]) -> EvenGroups:
    grids: dict[bytes, tuple[IntArray, IntArray]] = {}
    for _, part, opposite in some:
        _, others = grids.get(part.tobytes(), (part, opposite[:, :0]))
        grids[part.tobytes()] = part, np.concatenate([others, opposite], axis=1)
    inside = np.unique(np.concatenate([part.ravel() for _, part, _ in some]))
    values = tuple(value for value in made if np.isin(value, inside).any())
    return EvenGroups(frozenset(number for number, _, _ in some), tuple(grids.values()), values)


def _created(analysis: Analysis) -> tuple[IntArray, ...]:
    """The classes of each value that weights create, each once."""
    outs = [out for step in analysis.steps if step.flow.creates for out in step.flow.outputs if out is not None]
    return tuple({out.labels.tobytes(): out.labels.ravel() for out in outs if len(out.axes) == 1}.values())


@lru_cache(maxsize=256)
def _least(
    key: bytes, rows: int, sizes: tuple[int, ...], groups: tuple[int, ...], beside: tuple[int, ...],
    wholes: tuple[int, ...], align: int,
) -> IntArray:  # fmt: skip
    """How many more to keep of each kind of channels, of which there are `sizes`. key: `(rows, kinds)`: how often each
    group, of as many sides as there are `groups`, and each value holds a channel, and last whether it is kept. beside:
    what values keep of other channels. wholes: the sizes of values."""
    cells = np.frombuffer(key, np.int64).reshape(rows, -1)
    kinds, values = len(sizes), len(beside)
    kept = cells[-1] * sizes
    conditions = []
    starts = np.cumsum([0, *groups])
    for start, count in zip(starts, groups, strict=False):
        conditions += [_padded(cells[start + row] - cells[start], 2 * values) for row in range(1, count)]
    equal = len(conditions)
    low, high = [0.0] * equal, [0.0] * equal
    for number, (held, size) in enumerate(zip(beside, wholes, strict=True)):
        row = cells[starts[-1] + number]
        blocks, full = np.zeros(values), np.zeros(values)
        blocks[number], full[number] = align, 1
        # Whole blocks, or all.
        conditions += [
            np.concatenate([row, -blocks, -(size % align) * full]),
            np.concatenate([row, 0 * blocks, -size * full]),
        ]
        low, high = [*low, -held, -held], [*high, -held, np.inf]
    limits = scipy.optimize.Bounds(
        np.concatenate([kept, np.zeros(2 * values)]), np.concatenate([sizes, np.full(values, np.inf), np.ones(values)])
    )
    cost = _padded(np.ones(kinds), 2 * values)
    constraint = [scipy.optimize.LinearConstraint(np.stack(conditions), low, high)] if conditions else []
    found = scipy.optimize.milp(
        cost, integrality=np.ones(cost.size), bounds=limits, constraints=constraint, options=_SEARCH
    )
    return np.zeros(kinds, np.int64) if found.x is None else np.round(found.x[:kinds]).astype(np.int64) - kept


def _padded(row: FloatArray | IntArray, count: int) -> FloatArray:
    return np.concatenate([row, np.zeros(count)])
