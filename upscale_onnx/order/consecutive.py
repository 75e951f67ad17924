"""The consecutive-ones problem: find an order that makes every set contiguous, or show that there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.order.demands import column_classes, contiguous_rows, demand_matrix, row_bits
from upscale_onnx.order.pq_tree import PQTree
from upscale_onnx.types import Array, IntArray


def consecutive_ones(sets: Sequence[Array] | Array) -> IntArray | None:
    """Return an order (n,) under which every set is contiguous, or None when no order does that.

    sets: bool arrays (n,), or one bool matrix (k, n), which may have no rows. The identity is returned if it makes all
    sets contiguous. Otherwise elements of the same sets stand together in their old relative order.

    Raises: ArgumentError when `sets` is an empty list (n is unknown) or holds anything but bool arrays (n,).
    Source: Booth and Lueker 1976, as a PQ-tree over the classes of elements.
    """
    if isinstance(sets, np.ndarray) and sets.ndim == 2:
        n = sets.shape[1]
    elif len(sets):
        n = np.asarray(sets[0]).size
    else:
        raise ArgumentError("without sets, the number of elements n is unknown: pass a bool array of shape (0, n)")
    matrix = demand_matrix(n, sets)
    identity = np.arange(n, dtype=np.int64)
    if contiguous_rows(matrix, identity).all():
        return identity

    matrix = np.unique(matrix, axis=0)
    classes, first = column_classes(matrix)
    used = int(matrix[:, first].any(axis=0).sum())
    if used > 2 * len(matrix) - 1:  # k intervals have 2k ends, hence at most 2k - 1 pieces between them
        return None
    tree = PQTree(first.size)
    for bits in row_bits(matrix[:, first]):
        if not tree.reduce_bits(bits):
            return None
    rank = np.empty(first.size, dtype=np.int64)
    rank[tree.frontier()] = np.arange(first.size)
    return np.argsort(rank[classes], kind="stable").astype(np.int64)
