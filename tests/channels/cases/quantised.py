"""Operators that round to a grid and back."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.channels.case import Case, Tracked

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
        Case("DequantizeLinear", (q, *_ONE), note="one scale"),
        Case("DequantizeLinear", (q, _SCALES, _POINTS), {"axis": -3}, note="scales of channels"),
        Case("DequantizeLinear", (q, _SCALES), opset=13, note="no zero points"),
    ]


CASES = _cases()
