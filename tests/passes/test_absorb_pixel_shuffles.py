"""Goldens of AbsorbPixelShuffles."""

from __future__ import annotations

import pytest

from tests.graphs import golden, indices, parse, show, weight
from tests.passes.apply import absorb_pixels
from upscale_onnx.types import Array

SHUFFLE = """(float[1,3,2,3] x) => (float[1,2,4,6] y) {
    a = Conv(x, w)
    b = Reshape(a, split)
    c = Transpose<perm=[0,1,4,2,5,3]>(b)
    y = Reshape(c, whole)
}"""
WEIGHTS = {"w": weight(8, 3, 1, 1), "split": indices(1, 2, 2, 2, 2, 3), "whole": indices(1, 2, 4, 6)}

CASES: dict[str, tuple[str, dict[str, Array], str]] = {
    "column, row, depth": (
        SHUFFLE,
        WEIGHTS,
        """a = Conv(x, w{8x3x1x1})
        y = DepthToSpace<blocksize=2, mode=CRD>(a)""",
    ),
    "depth, column, row": (
        SHUFFLE.replace("[0,1,4,2,5,3]", "[0,3,4,1,5,2]"),
        WEIGHTS,
        """a = Conv(x, w{8x3x1x1})
        y = DepthToSpace<blocksize=2, mode=DCR>(a)""",
    ),
    "with a batch of any size": (
        SHUFFLE.replace("float[1,3,2,3]", "float[N,3,2,3]").replace("float[1,2,4,6]", "float[N,2,4,6]"),
        WEIGHTS | {"split": indices(-1, 2, 2, 2, 2, 3), "whole": indices(-1, 2, 4, 6)},
        """a = Conv(x, w{8x3x1x1})
        y = DepthToSpace<blocksize=2, mode=CRD>(a)""",
    ),
    "another order of rows and columns stays": (
        SHUFFLE.replace("[0,1,4,2,5,3]", "[0,1,2,4,5,3]"),
        WEIGHTS,
        """a = Conv(x, w{8x3x1x1})
        b = Reshape(a, [1,2,2,2,2,3])
        c = Transpose<perm=[0,1,2,4,5,3]>(b)
        y = Reshape(c, [1,2,4,6])""",
    ),
    "a shuffle whose middle is a graph output stays": (
        SHUFFLE.replace("(float[1,2,4,6] y)", "(float[1,2,4,6] y, float[1,2,2,2,2,3] b)"),
        WEIGHTS,
        """a = Conv(x, w{8x3x1x1})
        b = Reshape(a, [1,2,2,2,2,3])
        c = Transpose<perm=[0,1,4,2,5,3]>(b)
        y = Reshape(c, [1,2,4,6])""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text, constants, expected = CASES[name]
    assert show(absorb_pixels(parse(text, **constants))) == golden(expected)
