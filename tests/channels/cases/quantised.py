"""Operators that round to a grid and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from tests.channels.case import Case, Operand, Tracked
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN

_RNG = np.random.default_rng(6)
_SCALES = np.asarray([0.5, 0.25, 1.0, 2.0, 0.125, 0.75], np.float32)
_POINTS = np.asarray([3, 0, 128, 7, 100, 9], np.uint8)
_ONE = (np.asarray(0.25, np.float32), np.asarray(120, np.uint8))


def _cases() -> list[Case]:
    x = Tracked((2, 6, 4, 4))
    q = Tracked((2, 6, 4, 4), through=("Abs",), dtype=TensorProto.UINT8)
    return [
        Case("QuantizeLinear", (x, *_ONE), note="one scale"),
        Case("QuantizeLinear", (x, _ONE[0]), note="no zero point"),
        Case("QuantizeLinear", (x, _SCALES, _POINTS), note="scales of channels"),
        Case("QuantizeLinear", (x, _SCALES[:4], _POINTS[:4]), {"axis": 2}, note="scales beside channels"),
        Case("QuantizeLinear", (x, np.ones((2, 3, 4, 4), np.float32)), {"block_size": 2}, note="blocks", refused=True),
        Case("DynamicQuantizeLinear", (x,), outputs=3, whole=True),
        Case("DequantizeLinear", (q, *_ONE), note="one scale"),
        Case("DequantizeLinear", (q, _SCALES, _POINTS), {"axis": -3}, note="scales of channels"),
        Case("DequantizeLinear", (q, _SCALES), opset=13, note="no zero points"),
    ]


def _blocks() -> list[Case]:
    """Weights in blocks of 16 inputs, some of which are zero."""
    x, outputs, count = Tracked((2, 3, 40), (2,)), 6, 3
    steps = _RNG.integers(4, 12, (outputs, count, 8), np.uint8)
    steps |= (steps << 4).astype(np.uint8)
    steps[:, 1], steps[2] = 0x88, 0x88
    scales = _RNG.choice(np.asarray([0.5, 0.25, 1.0], np.float32), (outputs, count))
    points, bias = np.full((outputs, 2), 0x88, np.uint8), np.asarray([1, 0, -2, 3, 0, 5], np.float32)
    attrs = {"N": outputs, "K": 40, "bits": 4, "block_size": 16}

    def case(operands: tuple[Operand, ...], note: str, **more: Any) -> Case:
        return Case("MatMulNBits", (x, *operands), attrs, note=note, domain=RUNTIME_DOMAIN, exact=False, whole=True,
                    **more)  # fmt: skip

    return [
        case((steps, scales), "plain"),
        case((steps, scales, points), "zero points"),
        case((steps, scales, points, None, bias), "bias"),
        case((steps, scales.ravel(), points.ravel()), "flat scales"),
        case((steps, scales, None, np.arange(48, dtype=np.int32) % count), "an order of inputs", refused=True),
    ]


def _signed(*shape: int) -> npt.NDArray[np.int8]:
    values = _RNG.integers(-3, 4, shape).astype(np.int8)
    values[_RNG.random(shape[:2]) < 0.3] = 0
    return values


def _integers() -> list[Case]:
    image = Tracked((2, 6, 5, 5), through=("Abs",), dtype=TensorProto.UINT8)
    grouped = Tracked((2, 8, 5, 5), through=("Abs",), dtype=TensorProto.UINT8)
    rows = Tracked((3, 6), through=("Abs",), dtype=TensorProto.UINT8)
    columns = Tracked((6, 3), through=("Abs",), dtype=TensorProto.UINT8)
    zero, one, two = np.asarray(0, np.uint8), np.asarray(1, np.uint8), np.asarray(2, np.float32)
    scales, points = _SCALES[:4], np.asarray([0, 1, -1, 2], np.int8)
    none = np.asarray(0, np.int8)
    bias = np.asarray([3, 0, -5, 9], np.int32)
    result = (np.asarray(4, np.float32), np.asarray(100, np.uint8))
    conv = (two, zero, _signed(4, 6, 3, 3))
    return [
        Case("QLinearConv", (image, *conv, scales, np.zeros(4, np.int8), *result, bias), {"pads": [1] * 4}, whole=True),
        Case("QLinearConv", (image, *conv, two, none, *result), note="no bias", whole=True),
        Case("QLinearConv", (image, two, one, *conv[2:], two, none, *result), note="zero point of one", whole=True),
        Case(
            "QLinearConv",
            (grouped, two, zero, _signed(4, 4, 3, 3), scales, np.zeros(4, np.int8), *result, bias),
            {"group": 2},
            note="groups",
            whole=True,
        ),
        Case(
            "QLinearConv",
            (image, two, zero, _signed(6, 1, 3, 3), _SCALES, np.zeros(6, np.int8), *result),
            {"group": 6},
            note="depthwise",
            whole=True,
        ),
        Case("ConvInteger", (image, _signed(4, 6, 3, 3), zero, none)),
        Case("ConvInteger", (image, _signed(4, 6, 3, 3)), {"pads": [1] * 4}, note="no zero points"),
        Case("QLinearMatMul", (rows, two, zero, _signed(6, 4), scales, points, *result), whole=True),
        Case("MatMulInteger", (rows, _signed(6, 4), zero, points), note="zero points of columns", whole=True),
        Case("MatMulInteger", (rows, _signed(6, 4)), note="no zero points"),
        Case("MatMulInteger", (rows, columns), note="two activations", refused=True),
    ]


CASES = [*_cases(), *_blocks(), *_integers()]
