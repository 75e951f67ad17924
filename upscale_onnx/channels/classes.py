"""Channel classes: a disjoint-set forest over integer ids, with array operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from upscale_onnx.types import IntArray


class Classes:
    """Disjoint sets of class ids. New ids are consecutive; the root of a set is its least id."""

    def __init__(self) -> None:
        self._parent: IntArray = np.arange(1024, dtype=np.int64)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def fresh(self, count: int) -> IntArray:
        """The ids of `count` new classes, each in a set of its own."""
        start, self._size = self._size, self._size + count
        if self._size > self._parent.size:
            grown = np.arange(max(self._size, 2 * self._parent.size), dtype=np.int64)
            grown[: self._parent.size] = self._parent
            self._parent = grown
        return np.arange(start, self._size, dtype=np.int64)

    def find(self, labels: IntArray) -> IntArray:
        """The root of every label."""
        root = self._parent[labels]
        while True:
            above = self._parent[root]
            if (above == root).all():
                return root
            self._parent[labels] = above
            root = above

    def unite(self, left: IntArray, right: IntArray) -> None:
        """Merge the sets of labels at the same position (shapes broadcast)."""
        a, b = (x.ravel() for x in np.broadcast_arrays(left, right))
        while True:
            a, b = self.find(a), self.find(b)
            differ = a != b
            if not differ.any():
                return
            low, high = np.minimum(a, b)[differ], np.maximum(a, b)[differ]
            # One high may meet several lows: it takes the least, and the next round merges the others.
            np.minimum.at(self._parent, high, low)

    def roots(self) -> IntArray:
        """The root of every class id, `(classes,)`."""
        return self.find(np.arange(self._size, dtype=np.int64))


def connected(items: Sequence[Sequence[IntArray]]) -> list[list[int]]:
    """The indices of `items`, which are arrays of ids, in lists: items of different lists have no ids in common."""
    if not items:
        return []
    joined = Classes()
    joined.fresh(1 + max(int(array.max()) for arrays in items for array in arrays))
    for arrays in items:
        for array in arrays:
            joined.unite(array, arrays[0].ravel()[:1])
    found: dict[int, list[int]] = defaultdict(list)
    for index, arrays in enumerate(items):
        found[int(joined.find(arrays[0].ravel()[:1])[0])].append(index)
    return list(found.values())


def occurrences(rows: IntArray, ids: IntArray) -> IntArray:
    """`(rows, ids)`: how often each of `rows`, `(rows, …)`, holds each of `ids`, which are sorted."""
    counts = np.zeros((len(rows), ids.size), np.int64)
    held = np.nonzero(np.isin(rows, ids))
    np.add.at(counts, (held[0], np.searchsorted(ids, rows[held])), 1)
    return counts
