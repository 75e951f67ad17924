"""Sets of channels of which each row of several grids loses as many, so that groups stay of one size.

A grid holds the channels of one side of a grouped convolution, a row for each group. One channel may stand in several
grids: behind a shuffle, the groups of the next convolution take their channels from all groups of the one in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import scipy  # its parts are imported when they are used

from upscale_onnx.channels.classes import connected, occurrences
from upscale_onnx.types import FloatArray, IntArray

# Where the search for a set would take longer, channels go together in larger sets.
_MOST_NODES = 1000


def even_sets(grids: Sequence[IntArray], order: FloatArray) -> list[IntArray]:
    """The channels of `grids` in sets, each as small as can be, of which every row of a grid holds as many as the other
    rows of that grid.

    grids: `(rows, channels)` each. order: by channel id; those that come first are put together. Channels of order 0,
    which are pruned already, are in sets of their own where they are as many of every row.
    """
    found: list[IntArray] = []
    for shared in connected([(grid,) for grid in grids]):
        some = [grids[index] for index in shared]
        ids = np.unique(np.concatenate([grid.ravel() for grid in some]))
        counts = np.concatenate([occurrences(grid, ids) for grid in some])
        cells, cell = np.unique(counts, axis=1, return_inverse=True)
        steps = np.cumsum([0, *map(len, some)])
        more = np.concatenate([cells[a + 1 : b] - cells[a] for a, b in pairwise(steps)])
        gone = order[ids] == 0
        is_even = not (more @ np.bincount(cell[gone], minlength=cells.shape[1])).any()
        for part in (gone, ~gone) if is_even else (np.ones_like(gone),):
            found += _sets(ids[part], cell[part], more, order)
    return found


def _sets(ids: IntArray, cell: IntArray, more: IntArray, order: FloatArray) -> Iterator[IntArray]:
    """The sets of `ids`, which lie in the columns `cell` of the conditions `more`."""
    sizes = np.bincount(cell, minlength=more.shape[1])
    ranked = [ids[cell == number] for number in range(sizes.size)]
    left = [iter(some[np.argsort(order[some], kind="stable")].tolist()) for some in ranked]
    for taken, times in _parts(more.tobytes(), more.shape, tuple(sizes.tolist())):
        for _ in range(times):
            yield np.asarray([next(left[n]) for n, count in enumerate(taken) for _ in range(count)])


@lru_cache(maxsize=256)  # blocks of one stage ask the same
def _parts(more: bytes, shape: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Return `_taken` of a matrix in bytes."""
    return tuple(_taken(np.frombuffer(more, np.int64).reshape(shape), np.asarray(sizes)))


def _taken(more: IntArray, sizes: IntArray) -> Iterator[tuple[tuple[int, ...], int]]:
    """From how many channels of each kind, of which there are `sizes`, each set is made, and how many such sets there
    are. more: `(conditions, kinds)`: what a set holds of all kinds, times this, is zero."""
    while sizes.any():
        taken = _least(more, sizes)
        times = int((sizes[taken > 0] // taken[taken > 0]).min())
        sizes = sizes - times * taken
        yield tuple(taken.tolist()), times


def _least(more: IntArray, sizes: IntArray) -> IntArray:
    """The fewest channels that meet the conditions; all that are left where no fewer are found."""
    ones = np.ones(sizes.size)
    conditions = [scipy.optimize.LinearConstraint(more, 0, 0), scipy.optimize.LinearConstraint(ones[None], 1, np.inf)]
    limits = scipy.optimize.Bounds(0, sizes)
    found = scipy.optimize.milp(
        ones, integrality=ones, bounds=limits, constraints=conditions, options={"node_limit": _MOST_NODES}
    )
    if found.x is None:
        return sizes
    taken = np.round(found.x).astype(np.int64)
    return taken if taken.any() and not (more @ taken).any() else sizes
