"""Demands as one bool matrix, a row per consumer: validation, contiguity under an order, classes of equal columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array, BoolArray, IntArray


def demand_matrix(n: int, demands: Sequence[Array] | Array) -> BoolArray:
    """Return the demands stacked as a bool matrix (len(demands), n).

    Raises: ArgumentError when n is negative or a demand is not a bool array of shape (n,).
    """
    if n < 0:
        raise ArgumentError(f"the number of channels must not be negative, got {n}")
    matrix = np.zeros((len(demands), n), dtype=np.bool_)
    for i, demand in enumerate(demands):
        row = np.asarray(demand)
        if row.dtype != np.bool_ or row.shape != (n,):
            raise ArgumentError(f"demand {i} must be a bool array of shape ({n},), got {row.dtype} of {row.shape}")
        matrix[i] = row
    return matrix


def contiguous_rows(matrix: BoolArray, order: IntArray) -> BoolArray:
    """Return for each row (k, n) whether its True entries are contiguous under `order` (n,). Empty rows are."""
    count, n = matrix.shape
    if n == 0:
        return np.ones(count, dtype=np.bool_)
    placed = matrix[:, order]
    span = n - placed.argmax(axis=1) - placed[:, ::-1].argmax(axis=1)
    sizes = placed.sum(axis=1)
    result: BoolArray = (sizes == 0) | (sizes == span)
    return result


def column_classes(matrix: BoolArray) -> tuple[IntArray, IntArray]:
    """Return (class of each column (n,), first column of each class): equal columns share a class.

    Classes are numbered by first appearance, so that an order of classes reads like an order of columns.
    """
    count, n = matrix.shape
    if count == 0 or n == 0:
        return np.zeros(n, np.int64), np.zeros(min(n, 1), np.int64)
    packed = np.ascontiguousarray(np.packbits(matrix, axis=0).T)
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    by_appearance = np.argsort(first)
    number = np.empty_like(by_appearance)
    number[by_appearance] = np.arange(first.size)
    return number[inverse.ravel()].astype(np.int64), first[by_appearance].astype(np.int64)


def row_bits(matrix: BoolArray) -> list[int]:
    """Return each row (k, n) as one integer whose bit i is column i."""
    packed = np.packbits(matrix, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]
