"""From scores to masks: which channels are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array, BoolArray, FloatArray

# Rounding may leave amount * channels this much below the whole number that is meant.
_ROUNDING = 1e-9


def lowest(scores: Array, amount: float) -> BoolArray:
    """Mask (True = kept) that prunes the int(amount * n) lowest of n `scores`, as `lowest_count` does.

    Raises: ArgumentError where `amount` is not in [0, 1).
    """
    if not 0.0 <= amount < 1.0:
        raise ArgumentError(f"amount is {amount}: give a fraction from 0 up to, not including, 1")
    return lowest_count(scores, pruned_count(amount, scores.size))


def pruned_count(amount: float, channels: int) -> int:
    """How many of `channels` an amount (0 to 1) prunes, rounded down."""
    return int(amount * channels + _ROUNDING)


def lowest_count(scores: Array, count: int) -> BoolArray:
    """Mask (True = kept) that prunes the `count` lowest of `scores`.

    Among equal scores the earlier channel goes first; NaN counts as highest, so a channel whose score is not
    known goes last. At least one channel is always kept.
    """
    kept = np.ones(scores.size, dtype=np.bool_)
    kept[np.argsort(scores, kind="stable")[: max(min(count, scores.size - 1), 0)]] = False
    return kept


def common_scores(scores: Sequence[Array], ids: Sequence[NDArray[np.integer[Any]]], classes: int) -> FloatArray:
    """The score of each class over the layers that read it, of shape (classes,).

    scores[i]: one score per channel of layer i; ids[i]: the class of each of these channels. A class scores the
    mean, over the layers that read it, of the layer's scores for it (summed where the layer reads it in several
    channels, as after Flatten) divided by the layer's largest finite score. Without this division, the layer with
    the largest weights would decide alone.
    """
    total = np.zeros(classes)
    readers = np.zeros(classes, dtype=np.int64)
    for layer, member in zip(scores, ids, strict=True):
        total += _normalised(np.bincount(member, weights=layer, minlength=classes).astype(np.float64))
        readers[np.unique(member)] += 1
    return np.asarray(total / np.maximum(readers, 1))


def _normalised(scores: FloatArray) -> FloatArray:
    peak = float(np.abs(scores[np.isfinite(scores)]).max(initial=0.0))
    return scores / peak if peak > 0 else scores
