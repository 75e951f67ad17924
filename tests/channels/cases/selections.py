"""Concat, Slice, Split, Gather and Pad."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.channels.case import Case, Plain, Tracked
from upscale_onnx.types import Array

_X = Tracked((2, 6, 3, 4))
_GRID = Tracked((2, 3, 5, 4), (1, 3))


def _i(*values: int) -> Array:
    return np.asarray(values, np.int64)


def _f(*shape: int) -> Array:
    values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape) % 5 - 2
    return np.asarray(values)


def _concat(*operands: Any, axis: int = 1, note: str, whole: bool = False, refused: bool = False) -> Case:
    return Case("Concat", operands, {"axis": axis}, note=note, whole=whole, refused=refused)


def _concats() -> list[Case]:
    other = Tracked((2, 4, 3, 4))
    return [
        _concat(_X, other, note="channels"),
        _concat(_X, other, Tracked((2, 6, 3, 4)), axis=-3, note="three"),
        _concat(_X, _f(2, 3, 3, 4), note="with a constant"),
        _concat(_X, np.ones((2, 3, 3, 4), np.float32), note="with an even constant"),
        _concat(_X, Plain((2, 3, 3, 4)), note="with an input"),
        _concat(_X, Tracked((2, 1, 3, 4), ()), note="with one channel"),
        _concat(_X, Tracked((2, 6, 5, 4)), axis=2, note="across"),
        _concat(_X, Plain((2, 6, 5, 4)), axis=2, note="across an input", whole=True),
        _concat(_X, _f(2, 6, 1, 4), axis=2, note="across a constant"),
        _concat(_f(1, 1, 6), Tracked((1, 5, 6), (2,)), axis=1, note="class token"),
        _concat(Plain((2, 3, 4)), Plain((2, 5, 4)), note="inputs"),
        _concat(Plain((2, 1, 4)), Plain((2, 1, 4)), note="inputs of one"),
        _concat(Tracked((2, 1, 6, 3), (2,)), Tracked((2, 1, 6, 3), (2,)), note="stack", whole=True),
        _concat(_GRID, Tracked((2, 2, 5, 4), (1, 3)), note="outer axis of grids", whole=True),
        _concat(_GRID, Tracked((2, 3, 5, 2), (1, 3)), axis=3, note="inner axis of grids", whole=True),
        _concat(_GRID, Tracked((2, 3, 6, 4), (1, 3)), axis=2, note="across grids", whole=True),
        _concat(_GRID, _f(2, 3, 5, 2), axis=3, note="grid with a constant", whole=True),
        _concat(_GRID, _f(2, 3, 1, 4), axis=2, note="grid across a constant", whole=True),
    ]


def _slice(
    operand: Tracked,
    starts: list[int],
    ends: list[int],
    axes: list[int] | None,
    steps: list[int] | None = None,
    **more: Any,
) -> Case:
    extra = [None if axes is None else _i(*axes), None if steps is None else _i(*steps)]
    return Case("Slice", (operand, _i(*starts), _i(*ends), *extra), **more)


def _slices() -> list[Case]:
    far = (1 << 63) - 1
    return [
        _slice(_X, [1], [4], [1], note="channels"),
        _slice(_X, [1, 3, 0], [5, -far, far], [1, 3, 2], [1, -1, 2], note="channels and space by steps"),
        _slice(_X, [-3], [far], [-3], note="tail"),
        _slice(_X, [0], [far], [1], [2], note="every other"),
        _slice(_X, [-1], [-far], [1], [-1], note="reversed"),
        _slice(_X, [4], [0], [1], [-2], note="backwards"),
        _slice(_X, [1], [3], [2], note="space"),
        _slice(_X, [0, 1], [2, 4], None, note="no axes"),
        _slice(_X, [1, 1], [4, 3], [1, 2], note="channels and space"),
        _slice(_X, [1, 2, 0], [5, -far, far], [1, 3, 2], [2, -1, 2], note="channels by steps and space", refused=True),
        _slice(_X, [0, 1], [far, 3], [1, 2], note="all channels and space"),
        _slice(_GRID, [1], [3], [1], note="rows of a grid", whole=True),
        _slice(_GRID, [0], [2], [3], note="columns of a grid", whole=True),
        _slice(_GRID, [2], [4], [3], note="last columns of a grid", whole=True),
        _slice(_GRID, [0], [far], [3], [2], note="every other column", whole=True),
        _slice(_GRID, [1, 0], [3, 2], [1, 3], note="corner of a grid", refused=True),
        _slice(_GRID, [1], [3], [2], note="beside a grid", whole=True),
        Case("Slice", (_X, Plain((1,), 7), Plain((1,), 7), _i(2)), note="computed bounds of space"),
        Case("Slice", (_X, Plain((1,), 7), Plain((1,), 7), _i(1)), note="computed bounds", refused=True),
        Case("Slice", (_X,), {"starts": [1], "ends": [5], "axes": [1]}, opset=9, note="attributes"),
        Case("Slice", (_X,), {"starts": [0, 1], "ends": [2, 5]}, opset=7, note="attributes, no axes"),
        Case("Slice", (_X,), {"starts": [1, 1], "ends": [5, 3], "axes": [1, 2]}, opset=9, note="attributes, both"),
    ]


def _splits() -> list[Case]:
    return [
        Case("Split", (_X, _i(2, 4)), {"axis": 1}, outputs=2, note="sizes"),
        Case("Split", (_X, _i(1, 2, 3)), {"axis": 1}, outputs=3, note="three"),
        Case("Split", (_X,), {"axis": 1, "num_outputs": 3}, outputs=3, note="equal"),
        Case("Split", (Tracked((2, 7, 3)),), {"axis": 1, "num_outputs": 3}, outputs=3, note="uneven"),
        Case("Split", (_X,), {"axis": 1}, outputs=2, opset=13, note="equal, opset 13"),
        Case("Split", (_X,), {"axis": 1, "split": [2, 4]}, outputs=2, opset=11, note="attribute"),
        Case("Split", (_X,), {"axis": 1}, outputs=3, opset=7, note="opset 7"),
        Case("Split", (_X, _i(1, 3)), {"axis": -1}, outputs=2, note="space"),
        Case("Split", (_GRID, _i(2, 2)), {"axis": 3}, outputs=2, note="columns of a grid", whole=True),
        Case(
            "Split",
            (Tracked((3, 2, 4), (0, 2)),),
            {"axis": 0, "num_outputs": 3},
            outputs=3,
            note="rows of a grid",
            whole=True,
        ),
        Case("Split", (_X, Plain((2,), 7)), {"axis": 1}, outputs=2, note="computed", refused=True),
    ]


def _gathers() -> list[Case]:
    return [
        Case("Gather", (_X, _i(4, 0, 2)), {"axis": 1}, note="some"),
        Case("Gather", (_X, _i(5, 4, 3, 2, 1, 0)), {"axis": 1}, note="permutation"),
        Case("Gather", (_X, _i(1, 1, -1)), {"axis": -3}, note="repeated"),
        Case("Gather", (_X, np.asarray(2)), {"axis": 1}, note="scalar"),
        Case("Gather", (_X, np.asarray(-2, np.int32)), {"axis": 1}, note="negative scalar"),
        Case("Gather", (_X, np.asarray(1)), {"axis": 2}, note="scalar in space"),
        Case("Gather", (_X, _i(1, 0)), {"axis": 2}, note="space"),
        Case("Gather", (_X, np.asarray([[1, 0], [2, 2]])), {"axis": 2}, note="matrix in space"),
        Case("Gather", (_X, np.asarray([[1, 0, 1], [2, 2, 5]])), {"axis": 1}, note="matrix", refused=True),
        Case("Gather", (_f(8, 5), Plain((2, 3), 7)), note="of a table"),
        Case("Gather", (_f(5, 8), Plain((2,), 7)), {"axis": -1}, note="columns of a table"),
        Case("Gather", (_f(2, 8, 3), Plain((), 7)), {"axis": 1}, note="a row of tables"),
        Case("Gather", (_i(*range(40)).reshape(8, 5), Plain((3,), 7)), note="of integers"),
        Case("Gather", (_X, Plain((), 7)), {"axis": 3}, note="computed scalar in space"),
        Case("Gather", (_X, Plain((2, 1), 7)), {"axis": 3}, note="computed matrix in space"),
        Case("Gather", (_X, Plain((1,), 7)), {"axis": 1}, note="computed", refused=True),
        Case("Gather", (_GRID, _i(2, 0)), {"axis": 1}, note="rows of a grid", whole=True),
        Case("Gather", (_GRID, _i(3, 1)), {"axis": 3}, note="columns of a grid", whole=True),
        Case("Gather", (_GRID, np.asarray(1)), {"axis": 1}, note="row of a grid", whole=True),
        Case("Gather", (_GRID, np.asarray(2)), {"axis": 3}, note="column of a grid", whole=True),
        Case("Gather", (_X, _i(0, 1)), opset=7, note="batch"),
    ]


def _pads() -> list[Case]:
    value = np.asarray(1.5, np.float32)
    return [
        Case("Pad", (_X, _i(0, 2, 0, 0, 0, 1, 0, 0)), note="channels"),
        Case("Pad", (_X, _i(0, 2, 0, 0, 0, 1, 0, 0), value), note="channels by a value"),
        Case("Pad", (_X, _i(2, 1), value, _i(1)), note="channels by axes", opset=18),
        Case("Pad", (_X, _i(0, 0, 1, 1, 0, 0, 1, 1)), note="space"),
        Case("Pad", (_X, _i(0, 0, 1, 1, 0, 0, 1, 1), value), note="space by a value"),
        Case("Pad", (_X, _i(0, 0, 1, 1, 0, 0, 1, 1)), {"mode": "reflect"}, note="reflect"),
        Case("Pad", (_X, _i(0, 0, 1, 1, 0, 0, 1, 1)), {"mode": "edge"}, note="edge", opset=11),
        Case("Pad", (_X, _i(0, 2, 1, 0, 0, 0, 0, 1)), note="channels and space"),
        Case("Pad", (_X, _i(0, 0, -1, 0, 0, 0, 0, -1)), note="cropped space"),
        Case("Pad", (_X, _i(0, -1, 0, 0, 0, -2, 0, 0)), note="cropped channels"),
        Case("Pad", (_X, _i(0, 2, 1, 0, 0, -3, 0, -1), value), note="cropped behind, padded in front"),
        Case("Pad", (_X, _i(0, -3, 0, 0, 0, -4, 0, 0)), note="cropped by too many", refused=True),
        Case("Pad", (_X, _i(0, 1, 0, 0, 0, 1, 0, 0)), {"mode": "edge"}, note="edge of channels", refused=True),
        Case("Pad", (_X,), {"pads": [0, 1, 0, 0, 0, 2, 0, 0], "value": 1.0}, opset=7, note="attributes"),
        Case("Pad", (_X, Plain((8,), 7)), note="computed", refused=True),
        Case("Pad", (_X, Plain((4,), 7), value, _i(2, 3)), note="computed, by axes", opset=18),
        Case("Pad", (_GRID, _i(0, 0, 1, 0, 0, 0, 0, 0)), note="beside a grid", whole=True),
        Case("Pad", (_GRID, _i(0, 1, 0, 0, 0, 0, 0, 0)), note="rows of a grid", refused=True),
    ]


CASES = (*_concats(), *_slices(), *_splits(), *_gathers(), *_pads())
