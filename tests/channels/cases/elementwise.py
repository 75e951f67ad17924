"""Operators that work element by element, with every form of broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from tests.channels.case import Case, Plain, Tracked

_X = Tracked((2, 6, 3, 3))
_GRID = Tracked((2, 3, 5, 4), (1, 3))
_UNIT = Tracked((2, 6, 3, 3), through=("Sigmoid",))
_POSITIVE = Tracked((2, 6, 3, 3), through=("Abs", "Sigmoid"))
_BOOL = Tracked((2, 6, 3, 3), through=("Relu", "Sign"), dtype=TensorProto.BOOL)
_INT = Tracked((2, 6, 3, 3), dtype=TensorProto.INT32)
_NATURAL = Tracked((2, 6, 3, 3), through=("Abs",), dtype=TensorProto.UINT32)


def _f(*shape: int) -> np.ndarray[Any, Any]:
    values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape) % 5 - 1.5
    return np.asarray(values)


def _unary() -> list[Case]:
    plain = (  # noqa: SIM905
        "Relu LeakyRelu Elu Selu Celu ThresholdedRelu Sigmoid HardSigmoid HardSwish Mish Softplus Softsign Tanh Sin "
        "Cos Tan Atan Sinh Cosh Asinh Exp Neg Abs Floor Ceil Round Sign Erf Identity Shrink IsNaN IsInf"
    ).split()
    cases = [Case(op, (_X,), exact=False) for op in plain]
    cases += [Case(op, (_UNIT,), exact=False) for op in ("Acos", "Asin", "Log", "Sqrt", "Reciprocal")]
    cases += [
        Case("Acosh", (Tracked((2, 6, 3, 3), through=("Abs", "Exp")),), exact=False),
        Case("Atanh", (Tracked((2, 6, 3, 3), through=("Sigmoid", "Sigmoid")),), exact=False),
        Case("Gelu", (_X,), exact=False),
        Case("Gelu", (_X,), {"approximate": "tanh"}, note="tanh", exact=False),
        Case("Swish", (_X,), {"alpha": 0.5}, opset=24, exact=False),
        Case("LeakyRelu", (_X,), {"alpha": 0.5}, note="alpha", opset=7),
        Case("Relu", (_X,), opset=7),
        Case("Identity", (_GRID,), note="grid"),
        Case("Not", (_BOOL,)),
        Case("BitwiseNot", (_INT,)),
        Case("Cast", (_X,), {"to": TensorProto.INT64}, note="to integers"),
        Case("Cast", (_X,), {"to": TensorProto.FLOAT16}, note="to half", opset=9),
        Case("Cast", (_INT,), {"to": TensorProto.FLOAT}, note="to float"),
        Case("CastLike", (_X, np.zeros(1, np.int32)), note="constant"),
        Case("CastLike", (_X, Plain((3,), TensorProto.DOUBLE)), note="input"),
        Case("Clip", (_X, np.asarray(-1, np.float32), np.asarray(2, np.float32)), note="both"),
        Case("Clip", (_X, None, np.asarray(2, np.float32)), note="above"),
        Case("Clip", (_X, np.asarray(1, np.float32)), note="below", opset=11),
        Case("Clip", (_X, Plain(()), None), note="computed bound"),
        Case("Clip", (_X,), {"min": 0.0, "max": 6.0}, note="attributes", opset=7),
        Case("Dropout", (_X,), note="inference"),
        Case("Dropout", (_X, np.asarray(0.3, np.float32)), note="ratio"),
        Case("Dropout", (_X, None, np.asarray(False)), note="not training"),
        Case("Dropout", (_X,), {"ratio": 0.3}, opset=7, note="attribute"),
        Case("Dropout", (_X, None, np.asarray(True)), note="training", refused=True),
        Case("Dropout", (_X,), outputs=2, note="mask", refused=True),
    ]
    return cases


def _binary() -> list[Case]:
    cases = []
    for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu"):
        # A divisor must not be zero.
        through = ("Sigmoid",) if op == "Div" else ()
        alike, one = Tracked((2, 6, 3, 3), through=through), np.asarray(2, np.float32)
        cases += [
            Case(op, (_X, alike), note="alike", exact=op != "Div"),
            Case(op, (_X, _f(6, 1, 1)), note="vector", exact=op != "Div"),
            Case(op, (_X, one), note="scalar", exact=op != "Div"),
        ]
    for op in ("Add", "Mul", "Div"):
        through = ("Sigmoid",) if op == "Div" else ()
        gate = Tracked((2, 1, 3, 3), (), through=through)
        cases += [
            Case(op, (_X, _f(3)), note="constant beside the channels", exact=op != "Div"),
            Case(op, (_X, _f(1, 6, 3, 3)), note="constant of full size", exact=op != "Div"),
            Case(op, (_X, _f(1, 1, 1, 1)), note="constant of one", exact=op != "Div"),
            Case(op, (_f(2, 6, 3, 1), Tracked((2, 6, 3, 3), through=through)), note="constant first", exact=False),
            Case(op, (Tracked((6, 3, 3), (0,)), _f(2, 1, 1, 1)), note="constant of higher rank", exact=op != "Div"),
            Case(op, (_X, Tracked((6, 1, 1), (0,), through=through)), note="lower rank", exact=op != "Div"),
            Case(op, (_X, Tracked((2, 6, 1, 1), through=through)), note="gate per channel", exact=op != "Div"),
            Case(op, (_X, gate), note="gate for all", exact=op != "Div"),
            Case(op, (_X, Plain((2, 6, 3, 3))), note="input", exact=op != "Div", whole=True),
            Case(op, (_X, Plain((2, 1, 3, 3))), note="input for all", exact=op != "Div"),
            Case(
                op, (_GRID, Tracked((2, 3, 5, 4), (1, 3), through=through)), note="grids", exact=op != "Div", whole=True
            ),
            Case(
                op, (_GRID, Tracked((2, 3, 5, 1), through=through)), note="grid by heads", exact=op != "Div", whole=True
            ),
            Case(
                op,
                (_GRID, Tracked((2, 1, 5, 4), (3,), through=through)),
                note="grid by features",
                exact=op != "Div",
                whole=True,
            ),
            Case(op, (_GRID, _f(3, 1, 1)), note="grid by constant heads", exact=op != "Div", whole=True),
            Case(op, (_GRID, _f(4)), note="grid by constant features", exact=op != "Div", whole=True),
            Case(op, (_GRID, _f(3, 1, 4)), note="grid by a constant", exact=op != "Div", whole=True),
            Case(
                op,
                (Tracked((2, 3, 5, 1)), Tracked((2, 1, 5, 4), (3,))),
                note="outer",
                exact=False,
                refused=op == "Div",
                whole=True,
            ),
        ]
    return cases


def _others() -> list[Case]:
    power, alike, mask = np.asarray(2, np.float32), Tracked((2, 6, 3, 3)), (np.arange(6) % 2 == 0).reshape(6, 1, 1)
    truth, shift = Tracked((2, 6, 3, 3), through=("Relu", "Sign"), dtype=TensorProto.BOOL), {"direction": "LEFT"}
    integer = Tracked((2, 6, 3, 3), dtype=TensorProto.INT32)
    cases = [
        Case("Pow", (_X, power), note="square", exact=False),
        Case("Pow", (_POSITIVE, _f(6, 1, 1)), note="vector", exact=False),
        Case("Pow", (_POSITIVE, alike), note="alike", exact=False),
        Case("Mod", (_X, np.asarray([[[3.0]]], np.float32)), {"fmod": 1}, note="fmod"),
        Case("Mod", (_INT, np.asarray(3, np.int32)), note="integers"),
        Case("BitShift", (_NATURAL, np.asarray(2, np.uint32)), shift),
        Case("Where", (mask, _X, alike), note="constant condition", whole=True),
        Case("Where", (truth, _X, alike), note="computed condition"),
        Case("Where", (truth, _X, np.asarray(0, np.float32)), note="constant branch"),
        Case("Where", (Plain((3, 3), TensorProto.BOOL), _X, _f(6, 1, 1)), note="input condition"),
        Case("Where", (mask, _f(6, 3, 1), _X), note="wide constant", whole=True),
    ]
    for op in ("Sum", "Mean", "Min", "Max"):
        cases += [
            Case(op, (_X, alike, _f(6, 1, 1)), note="three", exact=False),
            Case(op, (_X,), note="one"),
            Case(op, (_X, Tracked((2, 1, 1, 1), ())), note="with one for all", exact=False),
        ]
    for op in ("And", "Or", "Xor"):
        cases += [Case(op, (_BOOL, truth)), Case(op, (_BOOL, mask), note="constant", whole=True)]
    for op in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"):
        cases += [Case(op, (_X, alike)), Case(op, (_X, np.floor(_f(6, 1, 1))), note="constant")]
    for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        cases += [Case(op, (_INT, integer)), Case(op, (_INT, np.asarray(6, np.int32)), note="constant")]
    return cases


CASES = (*_unary(), *_binary(), *_others())
