"""Goldens of AbsorbShuffles."""

from __future__ import annotations

import pytest

from tests.graphs import golden, indices, parse, show, weight
from tests.passes.apply import absorb
from upscale_onnx.types import Array

SHUFFLE = """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
    a = Conv(x, w1)
    b = Reshape(a, split)
    c = Transpose<perm=[0,2,1,3,4]>(b)
    d = Reshape(c, whole)
    y = Conv(d, w2)
}"""
WEIGHTS = {"w1": weight(6, 3, 1, 1), "w2": weight(2, 6, 1, 1), "whole": indices(1, 6, 4, 4)}

CASES: dict[str, tuple[str, dict[str, Array], str]] = {
    "a shuffle of two groups": (
        SHUFFLE,
        {**WEIGHTS, "split": indices(1, 2, 3, 4, 4)},
        """a = Conv(x, w1{6x3x1x1})
        d = Gather<axis=1>(a, [0,3,1,4,2,5])
        y = Conv(d, w2{2x6x1x1})""",
    ),
    "a shuffle of three groups, with a size left open": (
        SHUFFLE,
        {**WEIGHTS, "split": indices(1, 3, -1, 4, 4)},
        """a = Conv(x, w1{6x3x1x1})
        d = Gather<axis=1>(a, [0,2,4,1,3,5])
        y = Conv(d, w2{2x6x1x1})""",
    ),
    "with a batch of any size": (
        SHUFFLE.replace("float[1,3,4,4]", "float[N,3,4,4]").replace("float[1,2,4,4]", "float[N,2,4,4]"),
        {**WEIGHTS, "split": indices(-1, 2, 3, 4, 4), "whole": indices(-1, 6, 4, 4)},
        """a = Conv(x, w1{6x3x1x1})
        d = Gather<axis=1>(a, [0,3,1,4,2,5])
        y = Conv(d, w2{2x6x1x1})""",
    ),
    "with an image of any size": (
        SHUFFLE.replace("float[1,3,4,4]", "float[N,3,H,W]")
        .replace("float[1,2,4,4]", "float[N,2,H,W]")
        .replace(
            "b = Reshape(a, split)",
            "s = Shape(a) n = Slice(s, zero, one) r = Slice(s, two, four) "
            "split = Concat<axis=0>(n, apart, r) whole = Concat<axis=0>(n, six, r) b = Reshape(a, split)",
        ),
        {
            "w1": weight(6, 3, 1, 1),
            "w2": weight(2, 6, 1, 1),
            "apart": indices(2, 3),
            "six": indices(6),
            "zero": indices(0),
            "one": indices(1),
            "two": indices(2),
            "four": indices(4),
        },
        """a = Conv(x, w1{6x3x1x1})
        d = Gather<axis=1>(a, [0,3,1,4,2,5])
        y = Conv(d, w2{2x6x1x1})""",
    ),
    "a transpose that moves more than channels stays": (
        SHUFFLE.replace("[0,2,1,3,4]", "[0,2,1,4,3]"),
        {**WEIGHTS, "split": indices(1, 2, 3, 4, 4)},
        """a = Conv(x, w1{6x3x1x1})
        b = Reshape(a, [1,2,3,4,4])
        c = Transpose<perm=[0,2,1,4,3]>(b)
        d = Reshape(c, [1,6,4,4])
        y = Conv(d, w2{2x6x1x1})""",
    ),
    "a shuffle whose middle is a graph output stays": (
        SHUFFLE.replace("(float[1,2,4,4] y)", "(float[1,2,4,4] y, float[1,3,2,4,4] c)"),
        {**WEIGHTS, "split": indices(1, 2, 3, 4, 4)},
        """a = Conv(x, w1{6x3x1x1})
        b = Reshape(a, [1,2,3,4,4])
        c = Transpose<perm=[0,2,1,3,4]>(b)
        d = Reshape(c, [1,6,4,4])
        y = Conv(d, w2{2x6x1x1})""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text, constants, expected = CASES[name]
    assert show(absorb(parse(text, **constants))) == golden(expected)
