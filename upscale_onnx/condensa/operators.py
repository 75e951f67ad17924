"""The operators of schemes: functions of a weight that return a mask of its shape, True = kept.

A density is the share that is kept: of entries, filters, neurons or blocks. A share of n is round(density * n), halves
to the even number, and at least one. Of equal ones, the first is pruned first.

Source: Joseph et al., "A Programmable Approach to Model Compression", 2019, the operators of its library.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array, BoolArray
from upscale_onnx.unstructured.patterns import l1_unstructured, ln_structured, lowest

Norm = Literal["l1", "l2"]
_ORDERS = {"l1": 1.0, "l2": 2.0}


def prune(weight: Array, density: float) -> BoolArray:
    """A mask that keeps the entries of highest magnitude.

    Raises: ArgumentError where the density is no share above 0.
    """
    return l1_unstructured(weight, _pruned(density, weight.size))


def filter_prune(weight: Array, density: float, axis: int = 0, norm: Norm = "l1") -> BoolArray:
    """A mask that keeps the filters of a convolution, along `axis`, that have the highest norm.

    Raises: ArgumentError where the density is no share above 0, or the weight is no convolution's.
    """
    if weight.ndim < 3:
        raise ArgumentError(f"a weight of shape {weight.shape} has no filters: use neuron_prune")
    return ln_structured(weight, _pruned(density, weight.shape[axis]), _ORDERS[norm], axis)


def neuron_prune(weight: Array, density: float, axis: int = 0, norm: Norm = "l1") -> BoolArray:
    """A mask that keeps the neurons of a matrix product, along `axis`, that have the highest norm.

    Raises: ArgumentError where the density is no share above 0, or the weight is no matrix.
    """
    if weight.ndim != 2:
        raise ArgumentError(f"a weight of shape {weight.shape} has no neurons: use filter_prune")
    return ln_structured(weight, _pruned(density, weight.shape[axis]), _ORDERS[norm], axis)


def block_prune(
    weight: Array, density: float, block_size: tuple[int, int], axis: int = 0, norm: Norm = "l1"
) -> BoolArray:
    """A mask that keeps the blocks of highest norm of a matrix: its rows are the slices along `axis`, flat.

    block_size: rows and columns of a block. Blocks at the end may be smaller; so norms are taken relative to those of
    blocks of ones.

    Raises: ArgumentError where the density is no share above 0, or the weight has less than two axes.
    """
    if weight.ndim < 2:
        raise ArgumentError(f"a weight of shape {weight.shape} has no blocks: it is no matrix")
    matrix = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    powers = np.abs(matrix.astype(np.float64)) ** _ORDERS[norm]
    scores = _block_sums(powers, block_size) / _block_sums(np.ones(matrix.shape), block_size)
    kept = np.ones(scores.size, np.bool_)
    kept[lowest(scores.ravel(), _pruned(density, scores.size))] = False
    rows, columns = (np.arange(n) // size for n, size in zip(matrix.shape, block_size, strict=True))
    whole = kept.reshape(scores.shape)[rows[:, None], columns]
    others = np.delete(weight.shape, axis)
    return np.ascontiguousarray(np.moveaxis(whole.reshape(weight.shape[axis], *others), 0, axis))


def _pruned(density: float, size: int) -> int:
    """How many of `size` are pruned."""
    if not 0 < density <= 1:
        raise ArgumentError(f"density is {density}: give the share that is kept, above 0 and at most 1")
    return size - max(round(density * size), 1)


def _block_sums(matrix: Array, block_size: tuple[int, int]) -> Array:
    starts = [np.arange(0, n, size) for n, size in zip(matrix.shape, block_size, strict=True)]
    sums: Array = np.add.reduceat(np.add.reduceat(matrix, starts[0], axis=0), starts[1], axis=1)
    return sums
