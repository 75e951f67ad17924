"""Calibration data that cannot be used is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.runtime.samples import load_calibration

MODEL = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 3] x, int64[n] i) => (float[n, 3] y) { y = Relu (x) }'
)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_are_finite(tmp_path: Path, bad: float) -> None:
    x, path = np.ones((5, 3), np.float32), str(tmp_path / "c.npz")
    np.savez(path, x=x, i=np.arange(5))
    assert sum(len(batch["x"]) for batch in load_calibration(path, MODEL)) == 5
    x[3, 1] = bad
    np.savez(path, x=x, i=np.arange(5))
    with pytest.raises(ArgumentError, match=r"c\.npz: 'x' holds NaN or infinity"):
        load_calibration(path, MODEL)
