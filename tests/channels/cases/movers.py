"""Operators that move channels to other axes."""

from __future__ import annotations

import numpy as np

from tests.channels.case import Case, Plain, Tracked
from upscale_onnx.types import Array

_X = Tracked((2, 6, 3, 4))
_DYNAMIC = Tracked((2, 6, 3, 4), dynamic=(0,))
_GRID = Tracked((2, 3, 5, 4), (1, 3))


def _i(*values: int) -> Array:
    return np.asarray(values, np.int64)


def _reshape(
    operand: Tracked, shape: Array, note: str, whole: bool = False, refused: bool = False, zero: int = 0
) -> Case:
    attrs = {"allowzero": zero} if zero else {}
    return Case("Reshape", (operand, shape), attrs, note=note, whole=whole, refused=refused)


CASES = (
    _reshape(_X, _i(2, 72), "flatten"),
    _reshape(_X, _i(0, -1), "flatten by signs"),
    _reshape(_X, _i(-1, 72), "flatten to rows"),
    _reshape(_DYNAMIC, _i(0, -1), "flatten, dynamic"),
    _reshape(_DYNAMIC, _i(-1, 72), "flatten to rows, dynamic"),
    _reshape(_X, _i(2, 3, 2, 3, 4), "split", whole=True),
    _reshape(_X, _i(0, 2, -1, 3, 4), "split by signs", whole=True),
    _reshape(_DYNAMIC, _i(-1, 2, 3, 3, 4), "split, dynamic", whole=True),
    _reshape(_DYNAMIC, _i(0, 2, -1, 3, 4), "split by signs, dynamic", whole=True),
    _reshape(_X, _i(2, 6, 12), "merge space"),
    _reshape(_X, _i(2, 6, -1), "merge space by sign"),
    _reshape(_DYNAMIC, _i(0, 0, -1), "merge space, dynamic"),
    _reshape(_DYNAMIC, _i(0, 6, 4, 3), "other space, dynamic"),
    _reshape(_X, _i(2, 1, 6, 3, 4), "new axis"),
    _reshape(_X, _i(2, 3, 24), "rows", whole=True),
    _reshape(_X, _i(12, 3, 4), "merge with the batch", whole=True),
    _reshape(Tracked((2, 6, 1, 1), dynamic=(0,)), _i(-1, 6), "drop ones, dynamic"),
    _reshape(Tracked((2, 6, 1, 1)), _i(0, 0), "drop ones by zeros"),
    _reshape(Tracked((2, 5, 12), (2,)), _i(2, 5, 3, 4), "heads", whole=True),
    _reshape(Tracked((2, 5, 12), (2,), dynamic=(0,)), _i(0, 0, 3, -1), "heads, dynamic", whole=True),
    _reshape(Tracked((2, 3, 4, 5), (1, 2)), _i(2, 12, 5), "join a grid", whole=True),
    _reshape(Tracked((2, 3, 4, 5), (1, 2), dynamic=(0,)), _i(0, -1, 5), "join a grid, dynamic", whole=True),
    _reshape(Tracked((2, 5, 3, 4), (2, 3)), _i(0, 5, -1), "join heads", whole=True),
    _reshape(Tracked((2, 4, 3, 5), (1, 2)), _i(2, 2, 6, 5), "regroup a grid", whole=True),
    _reshape(_GRID, _i(2, 60), "join a spread grid", whole=True),
    _reshape(_X, _i(2, 6, 3, 4), "nothing", zero=1),
    Case("Reshape", (_X, Plain((2,), 7)), note="computed shape", refused=True),
    Case("Reshape", (_X, _i(0, -1)), opset=7, note="opset 7"),
    Case("Flatten", (_X,), {"axis": 1}),
    Case("Flatten", (_X,), {"axis": -3}, note="negative axis"),
    Case("Flatten", (_X,), {"axis": 2}, note="axis 2", whole=True),
    Case("Flatten", (_X,), {"axis": 0}, note="axis 0", whole=True),
    Case("Flatten", (_DYNAMIC,), {"axis": 1}, note="dynamic", opset=9),
    Case("Squeeze", (Tracked((2, 6, 1, 1)), _i(2, 3)), note="input"),
    Case("Squeeze", (Tracked((2, 6, 1, 1)), _i(-1)), note="negative", opset=13),
    Case("Squeeze", (Tracked((2, 6, 1, 1)),), note="all ones"),
    Case("Squeeze", (Tracked((2, 6, 1, 1)),), {"axes": [2, 3]}, opset=12, note="attribute"),
    Case("Unsqueeze", (Tracked((2, 6)), _i(2, 3)), note="behind"),
    Case("Unsqueeze", (Tracked((2, 6)), _i(0)), note="in front"),
    Case("Unsqueeze", (_DYNAMIC, _i(-1)), note="dynamic"),
    Case("Unsqueeze", (Tracked((2, 6)),), {"axes": [1, 3]}, opset=12, note="attribute"),
    Case("Unsqueeze", (_GRID, _i(2)), note="grid", whole=True),
    Case("Transpose", (_X,), note="reversed"),
    Case("Transpose", (_X,), {"perm": [0, 2, 3, 1]}, note="channels last"),
    Case("Transpose", (_GRID,), {"perm": [0, 3, 1, 2]}, note="grid", whole=True),
    Case("Expand", (Tracked((2, 6, 1, 1)), _i(2, 6, 3, 3)), note="space"),
    Case("Expand", (Tracked((2, 6, 1, 1)), _i(1, 1, 3, 3)), note="ones"),
    Case("Expand", (Tracked((6, 1), (0,)), _i(2, 6, 3)), note="rank"),
    Case("Expand", (_X, _i(4)), note="lower rank"),
    Case("Expand", (Tracked((1, 1, 4), (2,)), _i(1, 5, 4)), note="tokens"),
    Case("Tile", (_X, _i(1, 1, 2, 3)), note="space"),
    Case("Tile", (_X, _i(1, 2, 1, 1)), note="channels"),
    Case("Tile", (_GRID, _i(1, 2, 1, 1)), note="grid", whole=True),
    Case("Tile", (_GRID, _i(2, 1, 1, 2)), note="inner axis of a grid", whole=True),
    Case("Tile", (_X, Plain((4,), 7)), note="computed", refused=True),
)
