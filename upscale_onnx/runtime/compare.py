"""How far apart two outputs of a model are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from upscale_onnx.results import OutputError
from upscale_onnx.types import Array

# Per axis: one error and one magnitude for each index along it.
Slices = dict[int, tuple[Array, Array]]

_MOST_SLICES = 4096


def compare_outputs(name: str, expected: Any, actual: Any) -> OutputError:
    """The distance between two values of output `name`: arrays, or sequences and maps of them.

    Relative errors are relative to the largest finite magnitude in `expected` (to 1 if all of it is zero). NaN equals
    NaN, and an infinity equals the same infinity. Every other difference of a NaN or an infinity, of a shape, a type,
    a text or an integer is an infinite error.
    """
    pairs = _pairs(expected, actual)
    if pairs is None:
        return OutputError(name, math.inf, math.inf, -1.0, None)
    return worst(name, [_compare_arrays(name, a, b) for a, b in pairs])


def worst(name: str, errors: Iterable[OutputError]) -> OutputError:
    """The worst of several errors of one output, entry by entry."""
    found = tuple(errors)
    agreements = [error.argmax_agreement for error in found if error.argmax_agreement is not None]
    return OutputError(
        output=name,
        max_absolute=max((error.max_absolute for error in found), default=0.0),
        relative=max((error.relative for error in found), default=0.0),
        cosine=min((error.cosine for error in found), default=1.0),
        argmax_agreement=min(agreements, default=None),
    )


def slice_errors(expected: Any, actual: Any) -> Slices:
    """The distance of two outputs, for each slice along their second and along their last axis.

    Each axis has two arrays with one entry per index: the largest difference, and the largest magnitude in `expected`.
    Both are relative to the largest magnitude in all of `expected`. The result is empty unless both outputs are
    floating-point arrays of the same shape, with rank 2 or more.
    """
    if not isinstance(expected, np.ndarray) or not isinstance(actual, np.ndarray) or expected.ndim < 2:
        return {}
    if expected.shape != actual.shape or expected.dtype != actual.dtype or not expected.size:
        return {}
    if not _is_float(expected) or expected.dtype.kind == "c":
        return {}
    a, b = (x.astype(np.float32) if x.dtype.itemsize < 4 else x for x in (expected, actual))
    if not np.isfinite(a).all() or not np.isfinite(b).all():
        both = np.isfinite(a) & np.isfinite(b)
        a, b = np.where(both, a, 0), np.where(both, b, 0)
    magnitude, distance = np.abs(a), np.abs(a - b)
    scale = float(magnitude.max()) or 1.0
    found: Slices = {}
    for axis in {1, expected.ndim - 1}:
        if 1 < expected.shape[axis] <= _MOST_SLICES:
            others = tuple(i for i in range(expected.ndim) if i != axis)
            found[axis] = (distance.max(axis=others) / scale, magnitude.max(axis=others) / scale)
    return found


def says_something(output: Any) -> bool:
    """Whether an output can tell two models apart. It cannot if it holds nothing but NaN."""
    pairs = _pairs(output, output) or []
    return not pairs or any(not _is_float(a) or not a.size or not np.isnan(_reals(a)).all() for a, _ in pairs)


def _pairs(expected: Any, actual: Any) -> list[tuple[Array, Array]] | None:
    """Pairs of arrays from two values, or None if the values differ in structure."""
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping) or list(expected) != list(actual):
            return None
        return _joined([_pairs(expected[key], actual[key]) for key in expected])
    if isinstance(expected, (list, tuple)):
        if not isinstance(actual, (list, tuple)) or len(expected) != len(actual):
            return None
        return _joined([_pairs(a, b) for a, b in zip(expected, actual, strict=True)])
    if expected is None or actual is None:  # an absent optional value
        return [] if expected is actual else None
    return [(np.asarray(expected), np.asarray(actual))]


def _joined(parts: list[list[tuple[Array, Array]] | None]) -> list[tuple[Array, Array]] | None:
    pairs: list[tuple[Array, Array]] = []
    for part in parts:
        if part is None:
            return None
        pairs.extend(part)
    return pairs


def _compare_arrays(name: str, expected: Array, actual: Array) -> OutputError:
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return OutputError(name, math.inf, math.inf, -1.0, None)
    if not _is_float(expected):
        same = bool(np.array_equal(expected, actual))
        return OutputError(name, 0.0 if same else math.inf, 0.0 if same else math.inf, 1.0 if same else -1.0, None)
    # Complex numbers count as pairs; half precision and bfloat16 are widened so that differences do not overflow.
    a, b = _reals(expected), _reals(actual)
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(b[finite]).all():
        return OutputError(name, math.inf, math.inf, -1.0, None)
    agreement = _argmax_agreement(expected, actual)
    a, b = a[finite], b[finite]
    if not a.size:
        return OutputError(name, 0.0, 0.0, 1.0, agreement)
    absolute = float(np.abs(a - b).max())
    scale = float(np.abs(a).max()) or 1.0
    return OutputError(name, absolute, absolute / scale, _cosine(a, b), agreement)


def _is_float(array: Array) -> bool:
    # bfloat16 and similar types come from ml_dtypes and have the kind "V".
    return array.dtype.kind in "fcV" and array.dtype.fields is None


def _reals(array: Array) -> Array:
    flat = np.ascontiguousarray(array).ravel()
    if flat.dtype.kind == "c":
        flat = np.concatenate((flat.real, flat.imag))
    return flat.astype(np.float64)


def _cosine(a: Array, b: Array) -> float:
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norms == 0.0:
        return 1.0 if not (a.any() or b.any()) else 0.0
    return min(max(float(np.dot(a, b)) / norms, -1.0), 1.0)


def _argmax_agreement(expected: Array, actual: Array) -> float | None:
    if expected.ndim != 2 or expected.shape[0] == 0 or expected.shape[1] < 2 or expected.dtype.kind == "c":
        return None
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    return float(np.mean(a.argmax(axis=1) == b.argmax(axis=1)))
