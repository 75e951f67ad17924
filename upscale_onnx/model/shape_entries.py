"""Operators on shape vectors whose entries are known in part.

An entry is a size, the name of a dynamic size or of a product of such (never negative), or None where nothing is known
of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from upscale_onnx.model.size_products import product, quotient
from upscale_onnx.types import Dim, Dims

_KEEPING = frozenset(("Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape"))
# A shape vector has few entries; a vector with more is data.
_LONGEST = 64


def known_entries(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Dims | None]) -> Dims | None:
    """Entries of the integer vector (or scalar) that an operator returns, as far as they are known.

    attrs: the attributes by name; "value" of a ConstantOfShape is a tensor.
    inputs: the entries of each input, None if nothing is known of it.
    """
    rule = _RULES.get(op_type)
    if not inputs or inputs[0] is None or rule is None:
        return None
    entries = rule(op_type, attrs, inputs)
    return entries if entries is None or len(entries) <= _LONGEST else None


def _kept(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Dims | None]) -> Dims | None:
    if op_type == "Cast" and attrs.get("to") != onnx.TensorProto.INT64:
        return None
    if op_type == "Reshape" and (len(inputs) < 2 or inputs[1] is None or len(inputs[1]) > 1):
        return None
    # A vector with more entries would become a matrix.
    return None if op_type == "Unsqueeze" and len(inputs[0] or ()) > 1 else inputs[0]


def _picked(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Dims | None]) -> Dims | None:
    entries, index = inputs[0], _ints(inputs[1] if len(inputs) > 1 else None)
    if entries is None or index is None or any(not -len(entries) <= i < len(entries) for i in index):
        return None
    return tuple(entries[i] for i in index)


def _joined(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Dims | None]) -> Dims | None:
    known = [part for part in inputs if part is not None]
    return None if len(known) < len(inputs) else tuple(entry for part in known for entry in part)


def _sliced(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Dims | None]) -> Dims | None:
    entries = inputs[0] or ()
    if "starts" in attrs:
        return entries[int(attrs["starts"][0]) : int(attrs["ends"][0])]
    bounds = [_ints(part) for part in inputs[1:]]
    if len(bounds) < 2 or any(part is None or len(part) != 1 for part in bounds):
        return None
    start, stop, *rest = (part[0] for part in bounds if part is not None)
    return entries[start : stop : rest[1] if len(rest) > 1 else 1]


def _calculated(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Dims | None]) -> Dims | None:
    if len(inputs) != 2:
        return None
    pairs = _paired(inputs)
    return None if pairs is None else tuple(_number(op_type, a, b) for a, b in pairs)


def _number(op_type: str, left: Dim, right: Dim) -> Dim:
    if isinstance(left, int) and isinstance(right, int):
        return _ARITHMETIC[op_type](left, right)
    if op_type in ("Mul", "Div"):
        return product((left, right)) if op_type == "Mul" else quotient((left,), (right,))
    if op_type not in ("Add", "Sub"):
        return None
    if right == 0:
        return left
    return right if left == 0 and op_type == "Add" else None


def _divided(left: int, right: int) -> Dim:
    # ONNX rounds quotients of integers towards zero, Python rounds down: the same for sizes, which are not negative.
    return left // right if left >= 0 and right > 0 else None


def _modulo(left: int, right: int) -> Dim:
    return left % right if right > 0 else None


def _compared(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Dims | None]) -> Dims | None:
    pairs = _paired(inputs)
    return None if pairs is None else tuple(_equal(a, b) for a, b in pairs)


def _equal(left: Dim, right: Dim) -> Dim:
    if isinstance(left, int) and isinstance(right, int):
        return int(left == right)
    if left is not None and left == right:
        return 1
    negative = any(isinstance(side, int) and side < 0 for side in (left, right))
    return 0 if negative and any(isinstance(side, str) for side in (left, right)) else None


def _chosen(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Dims | None]) -> Dims | None:
    rows = _paired(inputs)
    if rows is None or len(inputs) != 3:
        return None
    return tuple((yes if condition else no) if isinstance(condition, int) else None for condition, yes, no in rows)


def _filled(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Dims | None]) -> Dims | None:
    sizes = _ints(inputs[0])
    if sizes is None or len(sizes) > 1 or any(size > _LONGEST for size in sizes):
        return None
    value = np.asarray(attrs.get("value", 0)).ravel()
    return (int(value[0]),) * (sizes[0] if sizes else 1) if value.dtype.kind in "iu" else None


def _paired(inputs: Sequence[Dims | None]) -> list[tuple[Dim, ...]] | None:
    """For each entry of the result, the entries of all inputs it is computed from. Single entries are broadcast."""
    known = [part for part in inputs if part is not None]
    size = max(map(len, known))
    if len(known) < len(inputs) or any(len(part) not in (1, size) for part in known):
        return None
    return list(zip(*(part * size if len(part) == 1 else part for part in known), strict=True))


def _ints(entries: Dims | None) -> list[int] | None:
    if entries is None or not all(isinstance(entry, int) for entry in entries):
        return None
    return [entry for entry in entries if isinstance(entry, int)]


_ARITHMETIC: dict[str, Callable[[int, int], Dim]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": _divided,
    "Mod": _modulo,
    "Min": min,
    "Max": max,
}
_RULES: dict[str, Callable[[str, Mapping[str, Any], Sequence[Dims | None]], Dims | None]] = {
    **dict.fromkeys(_KEEPING, _kept),
    **dict.fromkeys(_ARITHMETIC, _calculated),
    "Gather": _picked,
    "Concat": _joined,
    "Slice": _sliced,
    "Equal": _compared,
    "Where": _chosen,
    "ConstantOfShape": _filled,
}
