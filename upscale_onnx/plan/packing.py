"""Groups of channels packed into fewer and wider ones of one size.

A group that has lost channels may share a block with others. The weights between them are zeros, which costs
arithmetic; but blocks of a width that the machine likes are faster, and need less padding than each group for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.types import BoolArray, IntArray

_MOST_BLOCKS_WIDE = 4


@dataclass(frozen=True, eq=False)
class Side:
    """The channels that groups read, or those that they create.

    classes: all of them, in order. rows: per group of the packing, the classes that it must hold. homes: per group,
    those from which it takes more; None: from all that are in no row. width: how many it holds in the end.
    """

    classes: IntArray
    rows: tuple[IntArray, ...]
    homes: tuple[IntArray, ...] | None
    width: int

    def filled(self, kept: BoolArray) -> IntArray:
        """`(groups, width)`: the classes of each group; those in `kept` fill it up first."""
        if self.homes is not None:
            chosen = [np.sort(np.argsort(~kept[home], kind="stable")[: self.width]) for home in self.homes]
            return np.stack([home[index] for home, index in zip(self.homes, chosen, strict=True)])
        spare = np.setdiff1d(self.classes, np.concatenate(self.rows))
        spare = spare[np.argsort(~kept[spare], kind="stable")]
        ends = np.cumsum([self.width - row.size for row in self.rows])
        padding = np.split(spare[: ends[-1]], ends[:-1])
        return np.stack([np.concatenate(pair) for pair in zip(self.rows, padding, strict=True)])


@dataclass(frozen=True, eq=False)
class Packing:
    """Groups of one size, by what they read and what they create. moved: whether channels change their order."""

    inputs: Side
    outputs: Side
    moved: bool

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The number of groups, and how many channels each reads and creates."""
        return len(self.inputs.rows), self.inputs.width, self.outputs.width


def packed_in_order(inputs: IntArray, outputs: IntArray, kept: BoolArray, align: int) -> Iterator[Packing]:
    """Packings of neighbouring groups, which leave all channels in order.

    inputs, outputs: `(groups, channels)`, the classes of each group.
    """
    used = np.flatnonzero(kept[inputs].any(1) | kept[outputs].any(1))
    for count in _counts(used.size, (), align):
        each = -(-used.size // count)
        starts = used[each::each]
        sides = [_sides_in_order(labels, starts, kept, align) for labels in (inputs, outputs)]
        for read, made in zip(*sides, strict=True):
            if read is not None and made is not None:
                yield Packing(read, made, False)


def _sides_in_order(labels: IntArray, starts: IntArray, kept: BoolArray, align: int) -> list[Side | None]:
    """Groups from these rows of `labels` on, as wide as whole blocks, and as narrow as will do; None for none."""
    homes = tuple(part.ravel() for part in np.split(labels, starts))
    rows = tuple(home[kept[home]] for home in homes)
    most = min(home.size for home in homes)
    alike = all(home.size == most for home in homes)
    found: list[Side | None] = []
    for width in _widths(max(row.size for row in rows), len(rows), align):
        if width <= most or alike:
            found.append(Side(labels.ravel(), rows, homes, min(width, most)))
        else:
            found.append(None)
    return found


def packed_anew(
    needed: Sequence[tuple[IntArray, IntArray]], inputs: IntArray, outputs: IntArray, kept: BoolArray, align: int
) -> Iterator[Packing]:
    """Packings of any groups together. Channels that no group needs fill what is left, those in `kept` first.

    needed: the classes that each group needs to read and to create. inputs, outputs: all classes.
    """
    groups = [group for group in needed if group[1].size]
    sizes = np.asarray([[read.size, made.size] for read, made in groups]).reshape(-1, 2)
    for count in _counts(len(groups), sizes.sum(0).tolist(), align):
        bins = _balanced(sizes, count)
        sides = [
            _sides(
                [np.concatenate([labels[:0], *(groups[one][side] for one in each)]) for each in bins],
                labels,
                kept,
                align,
            )
            for side, labels in enumerate((inputs, outputs))
        ]
        for read, made in zip(*sides, strict=True):
            if read is not None and made is not None:
                yield Packing(read, made, True)


def _balanced(sizes: IntArray, count: int) -> list[list[int]]:
    """The groups of these sizes in `count` bins, the largest first, each into the bin that holds least."""
    bins: list[list[int]] = [[] for _ in range(count)]
    filled = np.zeros((count, 2), np.int64)
    for group in np.argsort(-sizes.sum(1), kind="stable").tolist():
        chosen = int(np.argmin((filled + sizes[group]).max(1)))
        bins[chosen].append(group)
        filled[chosen] += sizes[group]
    return bins


def _sides(rows: Sequence[IntArray], classes: IntArray, kept: BoolArray, align: int) -> list[Side | None]:
    """Groups of these `rows`, as wide as whole blocks, and as narrow as will do; None where there are too few
    classes."""
    held = np.zeros(kept.size, bool)
    held[np.concatenate(list(rows))] = True
    present = int((held | kept)[classes].sum())
    least = max(max(row.size for row in rows), -(-present // len(rows)))
    return [
        Side(classes, tuple(rows), None, width) if width * len(rows) <= classes.size else None
        for width in _widths(least, len(rows), align)
    ]


def _widths(least: int, count: int, align: int) -> tuple[int, int]:
    """The widths to try: whole blocks, and the least with which all groups together fill whole blocks."""
    least = max(least, 1)
    together = next(width for width in range(least, least + align) if width * count % align == 0)
    return -(-least // align) * align, together


def _counts(groups: int, totals: Sequence[int], align: int) -> list[int]:
    """The numbers of groups to try: as many as there are, halved again and again, and as many as fill blocks."""
    counts, left = {groups}, groups
    while left > 1:
        left = -(-left // 2)
        counts.add(left)
    for total in totals:
        counts |= {-(-total // (align * wide)) for wide in range(1, _MOST_BLOCKS_WIDE + 1)}
    return sorted(count for count in counts if 0 < count <= groups)
