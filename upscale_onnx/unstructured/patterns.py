"""Patterns of pruning: functions of arrays that return masks, True = kept.

Each takes the mask of an earlier pruning, `before`, as torch.nn.utils.prune does. Entries that it prunes stay pruned,
and the amount refers to the rest. An amount is a share if it is a float, and a number of entries (or channels) if it
is an int. A share of n is round(share * n), halves to the even number.
"""

from __future__ import annotations

import math
import numbers
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array, BoolArray, FloatArray

Pattern = Literal["random", "l1", "random-structured", "ln-structured"]

STRUCTURED = ("random-structured", "ln-structured")


def count(amount: float, size: int) -> int:
    """How many of `size` entries `amount` stands for.

    Raises: ArgumentError if it is neither a share from 0 to 1 nor a number from 0 to `size`.
    """
    if not isinstance(amount, numbers.Integral):
        if not 0.0 <= amount <= 1.0:
            raise ArgumentError(f"amount is {amount}: give a share from 0 to 1, or a whole number of entries")
        return round(amount * size)
    if not 0 <= amount <= size:
        raise ArgumentError(f"amount is {amount}: there are only {size} to prune")
    return int(amount)


def random_unstructured(
    array: Array, amount: float, rng: np.random.Generator, before: BoolArray | None = None
) -> BoolArray:
    """A mask with the shape of `array` that prunes `amount` of its entries at random.

    Raises: ArgumentError if the amount is out of range.
    """
    return _of_entries(rng.random(array.shape), amount, before)


def l1_unstructured(array: Array, amount: float, before: BoolArray | None = None) -> BoolArray:
    """A mask with the shape of `array` that prunes the entries of lowest magnitude.

    Of equal entries, the first is pruned first. NaN is pruned last.

    Source: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015, section 3.

    Raises: ArgumentError if the amount is out of range.
    """
    return _of_entries(_magnitudes(array), amount, before)


def random_structured(
    array: Array, amount: float, dim: int, rng: np.random.Generator, before: BoolArray | None = None
) -> BoolArray:
    """A mask with the shape of `array` that prunes `amount` of the channels along axis `dim` at random.

    Raises: ArgumentError if the amount or the axis is out of range, or the array has less than two axes.
    """
    axis = _channel_axis(array, dim)
    return _of_channels(np.asarray(rng.random(array.shape[axis])), amount, axis, _all_kept(array, before))


def ln_structured(array: Array, amount: float, n: float, dim: int, before: BoolArray | None = None) -> BoolArray:
    """A mask with the shape of `array` that prunes the channels along axis `dim` with the lowest L`n` norm.

    n: any number, also inf and -inf; 0 counts the entries that are not zero. A channel whose norm is NaN is pruned
    last.

    Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.1, with n = 1.

    Raises: ArgumentError if the amount or the axis is out of range, or the array has less than two axes.
    """
    axis = _channel_axis(array, dim)
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)
    return _of_channels(_norms(rows, n), amount, axis, _all_kept(array, before))


def custom_from_mask(array: Array, mask: Array, before: BoolArray | None = None) -> BoolArray:
    """`mask`, an array of ones (kept) and zeros (pruned), as a mask for `array`; what `before` prunes is pruned, too.

    Raises: ArgumentError if `mask` has another shape, or other entries.
    """
    if mask.shape != array.shape:
        raise ArgumentError(f"the mask has shape {mask.shape}, the tensor {array.shape}")
    if mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise ArgumentError("the mask holds entries that are neither 0 nor 1")
    kept = _all_kept(array, before)
    kept[mask == 0] = False
    return kept


def _of_entries(scores: Array, amount: float, before: BoolArray | None) -> BoolArray:
    kept = _all_kept(scores, before).ravel()
    left = np.flatnonzero(kept)
    kept[left[lowest(scores.ravel()[left], count(amount, left.size))]] = False
    return kept.reshape(scores.shape)


def _of_channels(scores: Array, amount: float, axis: int, before: BoolArray) -> BoolArray:
    rows = np.moveaxis(before, axis, 0).reshape(before.shape[axis], -1)
    left = np.flatnonzero(rows.any(axis=1))
    pruned = left[lowest(scores[left], count(amount, left.size))]
    np.moveaxis(before, axis, 0)[pruned] = False
    return before


def lowest(scores: Array, number: int) -> NDArray[np.intp]:
    """Positions of the `number` lowest of `scores` (N,). The first of equal entries counts as lower; NaN is highest."""
    if not 0 < number < scores.size:
        return np.arange(min(number, scores.size), dtype=np.intp)
    known = np.where(np.isnan(scores), math.inf, scores)
    threshold = np.partition(known, number - 1)[number - 1]
    below = np.flatnonzero(known < threshold)
    equal = np.flatnonzero(known == threshold)[: number - below.size]
    return np.concatenate([below, equal])


def _magnitudes(array: Array) -> Array:
    wide = np.float64 if array.dtype == np.float64 else np.float32  # exact for all smaller types
    magnitudes: Array = np.abs(array.astype(wide))
    return magnitudes


def _norms(rows: FloatArray, n: float) -> FloatArray:
    if not rows.shape[1]:
        return np.zeros(rows.shape[0])
    # Powers of very large or small numbers may leave the range of doubles; relative to the largest entry, they do not.
    peak = np.abs(rows).max(axis=1, keepdims=True)
    scale = np.where((peak > 0) & np.isfinite(peak), peak, 1.0)
    with np.errstate(all="ignore"):  # a negative n divides by zero
        norms = np.linalg.norm(rows / scale, ord=n, axis=1)
    return np.asarray(norms if n == 0 else norms * scale[:, 0])


def _all_kept(array: Array, before: BoolArray | None) -> BoolArray:
    if before is None:
        return np.ones(array.shape, np.bool_)
    if before.shape != array.shape:
        raise ArgumentError(f"the mask of an earlier pruning has shape {before.shape}, the tensor {array.shape}")
    return np.array(before, np.bool_)


def _channel_axis(array: Array, dim: int) -> int:
    if array.ndim < 2:
        raise ArgumentError(f"channels are pruned from tensors of two axes or more, this one has shape {array.shape}")
    if not -array.ndim <= dim < array.ndim:
        raise ArgumentError(f"axis {dim} does not exist in a tensor of shape {array.shape}")
    return dim % array.ndim
