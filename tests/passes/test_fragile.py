"""Channels that nobody reads, in front of operators that make NaN or infinity of zeros."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import parse, run
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import recipes
from upscale_onnx.model import infer_shapes

FRAGILE = {
    "Reciprocal": "Reciprocal(a)",
    "Log": "Log(a)",
    "Div": "Div(one, a)",
    "Pow": "Pow(a, minus)",
    "no epsilon": "Div(a, squared)",
}


@pytest.mark.parametrize("align", [1, 4])
@pytest.mark.parametrize("name", sorted(recipes(1)))
@pytest.mark.parametrize("operator", FRAGILE)
def test_no_selection_puts_zeros_there(operator: str, name: str, align: int) -> None:
    """Only the first channel, a constant, is read; what the others are computed of must not be selected away."""
    model = parse(
        f"""(float[2,3,6] x) => (float[2,3,3] y) {{
            h = MatMul(x, w)
            b = Add(h, bias)
            t = Transpose<perm=[2,1,0]>(b)
            a = Abs(t)
            squared = Mul(a, a)
            r = {FRAGILE[operator]}
            u = Transpose<perm=[2,1,0]>(r)
            y = MatMul(u, v)
        }}""",
        w=np.diag([0, 1, 1, 1, 1, 1]).astype(np.float32),
        bias=np.asarray([2, 0, 0, 0, 0, 0], np.float32),
        v=np.r_[[[1, 2, 3]], np.zeros((5, 3))].astype(np.float32),
        one=np.ones((), np.float32),
        minus=np.asarray(-1, np.float32),
    )
    after = make(recipes(align)[name], model, infer_shapes(model))
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 3, 6)).astype(np.float32)}
    (expected,), (found,) = run(model, feeds), run(after, feeds)
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(found, expected)
