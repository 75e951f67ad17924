"""Compares the target of a region, as the compiled model computes it, with that of the original, by channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from upscale_onnx.proof.draws import PERTURBATION
from upscale_onnx.results import Claim
from upscale_onnx.runtime.compare import compare_outputs
from upscale_onnx.types import Array, BoolArray

# The difference that another order of summation may cause, in units of rounding, relative to the size of the terms.
# Sums of ten thousand terms reached about sixty.
_ROUNDINGS = 256.0
# The terms of a single number may cancel by chance. If a channel has few entries, its terms are taken to be at least
# this share of the median over all channels.
_USUAL_SHARE = 0.25
FEW_ENTRIES = 64
# Smaller numbers may be flushed to zero in one model and not in the other.
_FLUSHED = 2.0**-110
# The largest tolerance of a channel relative to its scale, however much its region amplifies rounding.
_LARGEST_TOLERANCE = 1e-2
# The tolerance of results that are no single tensor, relative to their scale.
_SEQUENCE_TOLERANCE = 1e-5


def is_float(value: Any) -> TypeGuard[Array]:
    """Whether a value is an array of floating-point numbers."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def has_few_entries(shape: tuple[int, ...], claim: Claim | None = None) -> bool:
    """Whether a value of `shape` holds few numbers per channel. If the claim names no channel axis, the longest axis is
    taken for it."""
    channels = math.prod(claim.sizes) if claim else 1
    if channels <= 1:
        channels = max(shape, default=1)
    return math.prod(shape) < FEW_ENTRIES * channels


def fits(shape: tuple[int, ...], claim: Claim) -> bool:
    """Whether the claim can be about a value of `shape`."""
    told = [claim.sizes] if claim.constants is None else [claim.sizes, claim.constants.shape]
    return all(
        len(sizes) == len(shape) and all(size in (1, full) for full, size in zip(shape, sizes, strict=True))
        for sizes in told
    )


def held_shape(shape: tuple[int, ...], claim: Claim) -> tuple[int, ...]:
    """The shape that a value of `shape` has in the compiled model."""
    if claim.held is None:
        return shape
    sizes = zip(shape, claim.sizes, claim.held.shape, strict=True)
    return tuple(kept if size > 1 else full for full, size, kept in sizes)


def held_of(value: Array, claim: Claim) -> Array:
    """The value that the compiled model holds in place of `value`, according to the claim.

    Channels that nothing is claimed about hold arbitrary numbers. `value` may have size 1 along channel axes.
    """
    axes = [axis for axis, size in enumerate(claim.sizes) if size > 1 and value.shape[axis] > 1]
    if claim.held is None or not axes:
        return value
    if claim.held.size == 0:
        return np.zeros(held_shape(value.shape, claim), value.dtype)
    held = np.maximum(claim.held, 0)
    # unravel_index gets a vector: of an array with several axes, numpy 2.4 gets the entries from 8192 on wrong.
    places = tuple(index.reshape(held.shape) for index in np.unravel_index(held.ravel(), claim.sizes))
    if len(axes) == 1 and claim.held.size == claim.held.shape[axes[0]]:
        return value.take(places[axes[0]].ravel(), axes[0])
    index = [
        places[axis] if axis in axes else np.arange(size).reshape([-1 if a == axis else 1 for a in range(value.ndim)])
        for axis, size in enumerate(value.shape)
    ]
    return np.ascontiguousarray(value[tuple(np.broadcast_arrays(*index))])


def fault_of(expected: Any, moved: Sequence[Any], actual: Any, claim: Claim | None, replaced: bool = False) -> str:
    """What is wrong with `actual`, the compiled model's value, according to the claim; "" if nothing is.

    moved: the original's values when the inputs of the region change by `PERTURBATION` of themselves. replaced: whether
    a reader puts numbers in place of NaN or infinities, so that constants must hold beside these, too.
    """
    if not isinstance(expected, np.ndarray) or not isinstance(actual, np.ndarray):
        return "" if compare_outputs("", expected, actual).relative <= _SEQUENCE_TOLERANCE else "the results differ"
    whole = Claim((1,) * expected.ndim)
    claim = claim or whole
    if not fits(expected.shape, claim) and claim.held is None and claim.constants is None:
        claim = whole  # the model declares a wrong rank; the whole value can still be compared
    if not fits(expected.shape, claim):
        return f"a value of shape {expected.shape} has no channels {claim.sizes}"
    wanted = held_shape(expected.shape, claim)
    if fault := shape_fault(wanted, expected, actual):
        return fault
    if not is_float(expected):
        return "" if np.array_equal(expected, actual) else "the results differ"
    allowed = tolerance(expected, moved, claim)
    return _held_fault(expected, actual, allowed, claim) or _constant_fault(expected, allowed, claim, replaced)


def shape_fault(wanted: tuple[int, ...], expected: Array, actual: Array) -> str:
    """What is wrong with the type of `actual`, or with its shape, which should be `wanted`; "" if nothing is."""
    if actual.shape == wanted and actual.dtype == expected.dtype:
        return ""
    return f"it is {actual.dtype} {actual.shape} instead of {expected.dtype} {wanted}"


def tolerance(value: Array, moved: Sequence[Array], claim: Claim) -> Array:
    """How much another evaluation of `value` may differ: one number per channel, with size 1 along all other axes.

    The change of the value when the region's inputs move a little shows how large the summed terms are, even if they
    cancel.
    """
    unit = float(np.finfo(value.dtype).eps) / 2
    axes = tuple(axis for axis, size in enumerate(_channels(value, claim)) if size == 1)
    largest = _largest(value, axes)
    alike = [other for other in moved if other.shape == value.shape]  # a moved input may have been a size
    with np.errstate(all="ignore"):
        changes = [_largest(other - value, axes) / PERTURBATION for other in alike]
    terms = np.maximum.reduce([largest, *changes])
    if terms.size and value.size < FEW_ENTRIES * terms.size:
        terms = np.maximum(terms, _USUAL_SHARE * np.median(terms))
    rounding = _ROUNDINGS * unit
    limit = np.maximum(_LARGEST_TOLERANCE * largest, rounding * largest.max(initial=0))
    return np.asarray(np.maximum(np.minimum(rounding * terms, limit), _FLUSHED))


def _largest(value: Array, axes: tuple[int, ...]) -> Array:
    """The largest finite magnitude along `axes`."""
    size = np.abs(value)
    largest = size.max(axes, keepdims=True, initial=0)
    if not np.isfinite(largest).all():
        largest = np.where(np.isfinite(size), size, 0).max(axes, keepdims=True, initial=0)
    return np.asarray(largest, np.float64)


def wrong(expected: Array, actual: Array, allowed: Array) -> BoolArray:
    """A mask of the entries that differ by more than is allowed. NaN equals NaN, an infinity the same infinity."""
    with np.errstate(all="ignore"):
        off = ~(np.abs(actual - expected) <= allowed)
    if off.any():
        off &= ~((expected == actual) | (np.isnan(expected) & np.isnan(actual)))
    return np.asarray(off)


def _channels(value: Array, claim: Claim) -> tuple[int, ...]:
    """The number of channels along each axis. If the claim has no channel axis, it is the second one."""
    if any(size > 1 for size in claim.sizes):
        return claim.sizes
    return tuple(size if axis == min(1, value.ndim - 1) else 1 for axis, size in enumerate(value.shape))


def _held_fault(expected: Array, actual: Array, allowed: Array, claim: Claim) -> str:
    """What is wrong with the channels that the compiled model holds."""
    wanted = held_of(expected, claim)
    off = wrong(wanted, actual, held_of(allowed, claim))
    if claim.held is not None:
        off &= claim.held >= 0
    if not off.any():
        return ""
    with np.errstate(all="ignore"):
        far = np.abs(np.nan_to_num(wanted.astype(np.float64) - actual, nan=np.inf))
    place = tuple(int(i) for i in np.unravel_index(np.argmax(np.where(off, far, -1)), off.shape))
    count = f"{int(off.sum())} of {off.size} entries differ"
    return f"{count}, the most at {place}: {actual[place]:.6g} instead of {wanted[place]:.6g}"


def _constant_fault(expected: Array, allowed: Array, claim: Claim, replaced: bool) -> str:
    """What is wrong with the channels that are claimed to be constant."""
    if claim.constants is None:
        return ""
    known = np.isfinite(claim.constants)
    off = known & wrong(np.where(known, claim.constants, 0).astype(expected.dtype), expected, allowed)
    if off.any() and not replaced:
        off &= ~_lost(expected, claim)
    return f"{int(off.sum())} entries are not the constants that are claimed" if off.any() else ""


def _lost(expected: Array, claim: Claim) -> BoolArray:
    """The places at which all channels that the compiled model holds are NaN or infinite, as behind a division by zero,
    and the constant, times infinity, is one of these, too. Whatever sums them is lost in both models. Another finite
    number in place of the constant is not excused."""
    told = np.ones((), bool) if claim.held is None else claim.held >= 0
    if not told.any():
        return np.zeros((), bool)
    axes = tuple(axis for axis, size in enumerate(claim.sizes) if size > 1)
    lost = ~(np.isfinite(held_of(expected, claim)) & told).any(axes, keepdims=True)
    return np.asarray(lost & ~np.isfinite(expected))
