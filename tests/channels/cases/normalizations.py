"""Normalisations, the Softmax family, reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.channels.case import Case, Plain, Tracked
from upscale_onnx.types import Array

_X = Tracked((2, 6, 3, 4))
_TOKENS = Tracked((2, 5, 6), (2,))
_GRID = Tracked((2, 3, 5, 4), (1, 3))


def _v(*shape: int) -> Array:
    values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape) % 4 + 1
    return np.asarray(values)


def _i(*values: int) -> Array:
    return np.asarray(values, np.int64)


def _norm(
    op: str, *operands: Any, note: str, opset: int = 21, whole: bool = False, refused: bool = False, **attrs: Any
) -> Case:
    return Case(op, operands, attrs, note=note, opset=opset, whole=whole, refused=refused, exact=False)


def _normalizations() -> list[Case]:
    scale, bias = _v(6), _v(6)
    scale[1] = bias[1] = 0
    return [
        _norm("BatchNormalization", _X, scale, bias, _v(6), _v(6), note="2-D"),
        _norm("BatchNormalization", _X, scale, bias, _v(6), _v(6), note="opset 9", opset=9, epsilon=1e-3),
        _norm("BatchNormalization", _X, scale, bias, _v(6), _v(6), note="opset 7", opset=7),
        _norm("BatchNormalization", Tracked((3, 6)), scale, bias, _v(6), _v(6), note="rank 2"),
        _norm("BatchNormalization", Plain((2, 6, 3)), scale, bias, _v(6), _v(6), note="of an input"),
        _norm(
            "BatchNormalization",
            _X,
            scale,
            _v(6),
            _v(6),
            Tracked((6,), (0,), through=("Abs",)),
            note="computed",
            refused=True,
        ),
        _norm("InstanceNormalization", _X, scale, bias, note="2-D"),
        _norm("InstanceNormalization", Tracked((2, 6, 5)), scale, _v(6), note="1-D", opset=7),
        _norm("InstanceNormalization", Tracked((2, 3, 4), (2,)), _v(3), _v(3), note="over channels"),
        _norm("LayerNormalization", _TOKENS, scale, _v(6), note="channels"),
        _norm("LayerNormalization", _TOKENS, scale, note="no bias", opset=17),
        _norm("LayerNormalization", Tracked((2, 5, 6), (1,)), _v(6), _v(6), note="beside channels"),
        _norm("LayerNormalization", Tracked((2, 3, 4), (1, 2)), _v(3, 4), _v(3, 4), note="grid", axis=1),
        _norm("LayerNormalization", Tracked((2, 6, 4), (1,)), _v(6, 4), _v(6, 4), note="channels and space", axis=1),
        _norm("LayerNormalization", _GRID, _v(4), _v(4), note="rows of a grid", whole=True),
        _norm("RMSNormalization", _TOKENS, scale, note="channels", opset=23),
        _norm("SimplifiedLayerNormalization", _TOKENS, scale, note="channels"),
        _norm("LayerNormalization", _TOKENS, scale, _v(6), note="before onnx had it", opset=11),
        _norm("GroupNormalization", _X, scale, _v(6), note="per channel", num_groups=3, whole=True),
        _norm("GroupNormalization", _X, scale, _v(6), note="one group", num_groups=1, whole=True),
        _norm("GroupNormalization", _X, _v(3), _v(3), note="per group", num_groups=3, whole=True, opset=18),
        _norm(
            "GroupNormalization", Tracked((2, 6, 3), (2,)), _v(6), _v(6), note="other axis", num_groups=2, refused=True
        ),
    ]


def _by_length() -> list[Case]:
    op = "LpNormalization"
    return [
        _norm(op, _TOKENS, note="channels", opset=22),
        _norm(op, _TOKENS, note="channels, absolute", p=1),
        _norm(op, _X, note="beside channels", axis=-1),
        _norm(op, _GRID, note="rows of a grid", axis=3, whole=True),
    ]


def _softmax() -> list[Case]:
    cases = []
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        cases += [
            _norm(op, _TOKENS, note="channels", axis=-1, whole=op == "Hardmax"),
            _norm(op, _X, note="beside channels", axis=-1),
            _norm(op, _X, note="space, opset 11", axis=2, opset=11),
            _norm(op, _X, note="coerced", axis=1, opset=11, whole=op == "Hardmax"),
            _norm(op, Tracked((3, 6)), note="default", opset=9, whole=op == "Hardmax"),
            _norm(op, _GRID, note="of heads", axis=2, whole=True),
            _norm(op, _GRID, note="rows of heads", axis=3, whole=True),
        ]
    return cases


def _reductions() -> list[Case]:
    cases = []
    whole = "Mean Max Min Sum Prod L1 L2 SumSquare LogSum LogSumExp".split()  # noqa: SIM905
    for kind in whole:
        op = f"Reduce{kind}"
        positive = ("Abs", "Sigmoid") if "Log" in kind else ()
        x, grid = (
            Tracked(shape, axes, through=positive) for shape, axes in (((2, 6, 3, 4), (1,)), ((2, 3, 5, 4), (1, 3)))
        )
        since = 13 if kind == "Sum" else 18
        cases += [
            _norm(op, x, _i(2, 3), note="space"),
            _norm(op, x, _i(-1, -2), note="space dropped", keepdims=0),
            _norm(op, x, _i(1), note="channels"),
            _norm(op, x, _i(1), note="channels dropped", keepdims=0),
            _norm(op, Tracked((1, 4, 2, 2)), note="everything", whole=kind == "Prod"),
            _norm(op, x, note="nothing", noop_with_empty_axes=1),
            _norm(op, x, note="attribute", opset=since - 1, axes=[2, 3], keepdims=0),
            _norm(op, grid, _i(1), note="rows of a grid", whole=True),
            _norm(op, grid, _i(3), note="columns of a grid", keepdims=0, whole=True),
            _norm(op, grid, _i(2), note="beside a grid", keepdims=0, whole=True),
        ]
    cases.append(_norm("ReduceMean", _X, Plain((2,), 7), note="computed axes", refused=True))
    for op in ("ArgMax", "ArgMin"):
        cases += [
            Case(op, (_X,), {"axis": 2}, note="space"),
            Case(op, (_X,), {"axis": -1, "keepdims": 0}, note="space dropped", opset=11),
            Case(op, (_X,), {"axis": 1}, note="channels", refused=True),
            Case(op, (_GRID,), {"axis": 3}, note="rows of a grid", whole=True),
            Case(op, (_GRID,), {"axis": 1, "keepdims": 0}, note="columns of a grid", whole=True),
        ]
    return cases


CASES = (*_normalizations(), *_by_length(), *_softmax(), *_reductions())
