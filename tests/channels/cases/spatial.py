"""Poolings, resampling, and channels traded for space."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.channels.case import Case, Plain, Tracked
from upscale_onnx.types import Array

_X = Tracked((2, 6, 5, 5))
_LINE = Tracked((2, 6, 7))
_CUBE = Tracked((1, 6, 4, 4, 4))
_BLOCKS = Tracked((2, 12, 2, 2))


def _f(*values: float) -> Array:
    return np.asarray(values, np.float32)


def _i(*values: int) -> Array:
    return np.asarray(values, np.int64)


def _poolings() -> list[Case]:
    square = {"kernel_shape": [2, 2], "strides": [2, 2]}
    cases = []
    for op in ("MaxPool", "AveragePool", "LpPool"):
        padded: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        cases += [
            Case(op, (_X,), square, note="plain", exact=False),
            Case(op, (_X,), padded, note="padded", exact=False),
            Case(op, (_LINE,), {"kernel_shape": [3]}, note="1-D", exact=False),
            Case(op, (_CUBE,), {"kernel_shape": [2, 2, 2]}, note="3-D", exact=False),
            Case(op, (_X,), {**square, "auto_pad": "SAME_UPPER"}, note="same", exact=False),
            Case(op, (_X,), square, opset=8, note="opset 8", exact=False),
        ]
    for op in ("MaxPool", "AveragePool"):
        cases.append(Case(op, (_X,), {**square, "ceil_mode": 1}, note="ceiling", exact=False))
    shown = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}
    cases += [
        Case("AveragePool", (_X,), shown, note="padding counts", exact=False),
        Case(
            "AveragePool",
            (_X,),
            {**shown, "pads": [0, 0, 0, 0], "strides": [2, 2], "kernel_shape": [2, 2], "ceil_mode": 1},
            note="ceiling counts",
            exact=False,
        ),
        Case("MaxPool", (_X,), square, outputs=2, note="indices", whole=True),
        Case("MaxPool", (Tracked((2, 6, 5, 5), (2,)),), square, note="over channels", refused=True),
        Case("GlobalMaxPool", (_X,)),
        Case("GlobalMaxPool", (_LINE,), note="1-D"),
        Case("GlobalAveragePool", (_X,), exact=False),
        Case("GlobalAveragePool", (_CUBE,), note="3-D", exact=False),
        Case("GlobalLpPool", (_X,), {"p": 2}, exact=False),
    ]
    return cases


def _resize(*more: Any, note: str, opset: int = 19, refused: bool = False, **attrs: Any) -> Case:
    return Case("Resize", (_X, *more), attrs, note=note, opset=opset, exact=False, refused=refused)


def _resampling() -> list[Case]:
    return [
        _resize(None, _f(1, 1, 2, 2), note="scales"),
        _resize(_f(), _f(1, 1, 2, 2), note="scales, opset 11", opset=11),
        _resize(_f(1, 1, 2, 2), note="scales, opset 10", opset=10),
        _resize(None, _f(2, 2), note="scales of axes", axes=[2, 3]),
        _resize(None, None, _i(2, 6, 8, 9), note="sizes"),
        _resize(None, None, _i(2, 6, 8, 9), note="sizes, opset 13", opset=13, mode="linear"),
        _resize(None, None, _i(8, 9), note="sizes of axes", axes=[2, 3]),
        _resize(None, None, _i(6, 9), note="sizes of channels", axes=[1, 3]),
        _resize(None, _f(1, 1, 1.5, 1.5), note="cubic", mode="cubic"),
        _resize(None, _f(1, 2, 1, 1), note="of channels", refused=True),
        _resize(None, None, _i(2, 9, 5, 5), note="sizes of other channels", refused=True),
        _resize(None, Plain((4,)), note="computed", refused=True),
        _resize(None, None, Plain((2,), 7), note="computed sizes of axes", axes=[2, 3]),
        _resize(None, None, Plain((4,), 7), note="computed sizes", refused=True),
        Case("Upsample", (_X,), {"scales": [1.0, 1.0, 2.0, 2.0]}, opset=7, note="attribute"),
        Case("Upsample", (_X, _f(1, 1, 2, 2)), opset=9, note="input"),
    ]


def _neighbours() -> list[Case]:
    # The runtime keeps a running sum of the squares, which is exact for these numbers.
    attrs = {"size": 3, "alpha": 0.75, "beta": 0.5, "bias": 2.0}
    return [
        Case("LRN", (Tracked((2, 12, 3, 3)),), attrs, note="three", exact=False),
        Case("LRN", (Tracked((1, 12, 3, 3)),), {"size": 5, "alpha": 1.25}, note="five", exact=False),
        Case("LRN", (Tracked((2, 8, 5)),), attrs, note="1-D", refused=True),
        Case("LRN", (Tracked((2, 6, 5, 5), (2,)),), attrs, note="beside channels", refused=True),
        Case("LRN", (_X,), {**attrs, "bias": 0.0}, note="may divide by zero", refused=True),
    ]


def _patches() -> list[Case]:
    window = _i(2, 2)
    return [
        Case("Col2Im", (Tracked((2, 12, 16)), _i(5, 5), window), note="2-D", whole=True),
        Case("Col2Im", (Tracked((1, 6, 5)), _i(7), _i(3)), note="1-D", whole=True),
        Case("Col2Im", (Tracked((2, 12, 4)), _i(4, 4), window), {"strides": [2, 2]}, note="apart", whole=True),
        Case("Col2Im", (Plain((2, 12, 16)), _i(5, 5), window), note="of an input"),
        Case("Col2Im", (Tracked((2, 12, 16), (2,)), _i(5, 5), window), note="over channels", refused=True),
    ]


CASES = (
    *_poolings(),
    *_neighbours(),
    *_patches(),
    *_resampling(),
    Case("DepthToSpace", (_BLOCKS,), {"blocksize": 2, "mode": "DCR"}, note="DCR", whole=True),
    Case("DepthToSpace", (_BLOCKS,), {"blocksize": 2, "mode": "CRD"}, note="CRD", whole=True),
    Case("DepthToSpace", (_BLOCKS,), {"blocksize": 2}, opset=7, note="default", whole=True),
    Case("DepthToSpace", (Plain((1, 8, 2, 2)),), {"blocksize": 2}, note="of an input"),
    Case("SpaceToDepth", (Tracked((2, 5, 4, 4)),), {"blocksize": 2}),
    Case("SpaceToDepth", (Plain((1, 3, 4, 4)),), {"blocksize": 2}, note="of an input"),
)
