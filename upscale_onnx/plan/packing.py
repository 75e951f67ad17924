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
class Group:
    """The classes that a group reads and creates."""

    inputs: IntArray
    outputs: IntArray


@dataclass(frozen=True, eq=False)
class Packing:
    """Groups of one size: `(groups, channels)` classes that each reads, and that each creates."""

    inputs: IntArray
    outputs: IntArray


def packed_in_order(inputs: IntArray, outputs: IntArray, kept: BoolArray, align: int) -> Iterator[Packing]:
    """Packings of neighbouring groups, which leave all channels in order.

    inputs, outputs: `(groups, channels)`, the classes of each group.
    """
    used = np.flatnonzero(kept[inputs].any(1) | kept[outputs].any(1))
    for count in _counts(used.size, 0, 0, align):
        each = -(-used.size // count)
        starts = [0, *used[each::each].tolist()]
        parts = [_filled_in_order(labels, starts, kept, align) for labels in (inputs, outputs)]
        for read, made in zip(*parts, strict=True):
            if read is not None and made is not None:
                yield Packing(read, made)


def _filled_in_order(labels: IntArray, starts: Sequence[int], kept: BoolArray, align: int) -> list[IntArray | None]:
    """Rows from these groups on, of one size that fills blocks, and of the least that will do; None for none."""
    rows = [row.ravel() for row in np.split(labels, starts[1:])]
    least = max(int(kept[row].sum()) for row in rows)
    found: list[IntArray | None] = []
    for width in _widths(least, len(rows), align):
        if any(row.size < width for row in rows):
            found.append(labels.reshape(len(rows), -1) if labels.size % len(rows) == 0 and _alike(rows) else None)
            continue
        grown = [np.sort(np.argsort(~kept[row], kind="stable")[:width]) for row in rows]
        found.append(np.stack([row[index] for row, index in zip(rows, grown, strict=True)]))
    return found


def _alike(rows: Sequence[IntArray]) -> bool:
    return len({row.size for row in rows}) == 1


def packed_anew(
    groups: Sequence[Group], inputs: IntArray, outputs: IntArray, kept: BoolArray, align: int
) -> Iterator[Packing]:
    """Packings of any groups together. Channels that no group needs fill what is left, those in `kept` first.

    inputs, outputs: all classes.
    """
    groups = [group for group in groups if group.outputs.size]
    if not groups:
        return
    total_in, total_out = (sum(sizes) for sizes in zip(*((g.inputs.size, g.outputs.size) for g in groups), strict=True))
    for count in _counts(len(groups), total_in, total_out, align):
        bins = _balanced(groups, count)
        parts = []
        for labels, members in (
            (inputs, [[group.inputs for group in each] for each in bins]),
            (outputs, [[group.outputs for group in each] for each in bins]),
        ):
            rows = [np.concatenate([labels[:0], *each]) for each in members]
            parts.append(_filled(rows, labels, kept, align))
        for read, made in zip(*parts, strict=True):
            if read is not None and made is not None:
                yield Packing(read, made)


def _balanced(groups: Sequence[Group], count: int) -> list[list[Group]]:
    """The groups in `count` bins, the largest first, each into the bin that holds least."""
    bins: list[list[Group]] = [[] for _ in range(count)]
    filled = np.zeros((count, 2), np.int64)
    for group in sorted(groups, key=lambda group: -(group.inputs.size + group.outputs.size)):
        size = np.asarray([group.inputs.size, group.outputs.size])
        chosen = int(np.argmin((filled + size).max(1)))
        bins[chosen].append(group)
        filled[chosen] += size
    return bins


def _filled(rows: Sequence[IntArray], labels: IntArray, kept: BoolArray, align: int) -> list[IntArray | None]:
    """`rows` made equally wide by classes that are in none of them; None where there are too few."""
    spare = np.setdiff1d(labels, np.concatenate(list(rows)))
    spare = spare[np.argsort(~kept[spare], kind="stable")]
    present = labels.size - spare.size + int(kept[spare].sum())
    least = max(max(row.size for row in rows), -(-present // len(rows)))
    found: list[IntArray | None] = []
    for width in _widths(least, len(rows), align):
        if width * len(rows) > labels.size:
            found.append(None)
            continue
        missing = [width - row.size for row in rows]
        padding = np.split(spare[: sum(missing)], np.cumsum(missing)[:-1])
        found.append(np.stack([np.concatenate(pair) for pair in zip(rows, padding, strict=True)]))
    return found


def _widths(least: int, count: int, align: int) -> tuple[int, int]:
    """The widths to try: whole blocks, and the least with which all groups together fill whole blocks."""
    least = max(least, 1)
    together = next(width for width in range(least, least + align) if width * count % align == 0)
    return -(-least // align) * align, together


def _counts(groups: int, inputs: int, outputs: int, align: int) -> list[int]:
    """The numbers of groups to try: as many as there are, halved again and again, and as many as fill blocks."""
    counts, left = {groups}, groups
    while left > 1:
        left = -(-left // 2)
        counts.add(left)
    for total in (inputs, outputs):
        counts |= {-(-total // (align * wide)) for wide in range(1, _MOST_BLOCKS_WIDE + 1) if total}
    return sorted(count for count in counts if 0 < count <= groups)
