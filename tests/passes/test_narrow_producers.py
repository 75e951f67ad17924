"""Goldens of NarrowProducers."""

from __future__ import annotations

import pytest

from tests.graphs import golden, parse, show, weight
from tests.passes.apply import narrow
from tests.plan.prices import DEAR, FREE
from upscale_onnx.costs.costs import Costs
from upscale_onnx.types import Array

RESIDUAL = """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
    a = Conv(x, w1)
    b = Conv(x, w2)
    s = Add(a, b)
    y = Conv(s, w3)
}"""
BOTH = {"w1": weight(6, 3, 1, 1, rows=(0, 1, 2)), "w2": weight(6, 3, 1, 1, rows=(4, 5)), "w3": weight(2, 6, 1, 1)}
AS_IT_WAS = """a = Conv(x, w1{6x3x1x1})
        b = Conv(x, w2{6x3x1x1})
        s = Add(a, b)
        y = Conv(s, w3{2x6x1x1})"""

CASES: dict[str, tuple[str, dict[str, Array], Costs, str]] = {
    "rows of zeros are computed once and spread": (
        RESIDUAL,
        BOTH,
        FREE,
        """a_narrow = Conv(x, w1_1{4x3x1x1})
        a = Gather<axis=1>(a_narrow, [3,3,3,0,1,2])
        b_narrow = Conv(x, w2_1{5x3x1x1})
        b = Gather<axis=1>(b_narrow, [0,1,2,3,4,4])
        s = Add(a, b)
        y = Conv(s, w3{2x6x1x1})""",
    ),
    "not where the copy costs more": (RESIDUAL, BOTH, DEAR, AS_IT_WAS),
    "one row of zeros is no reason": (
        RESIDUAL,
        BOTH | {"w1": weight(6, 3, 1, 1, rows=(0,)), "w2": weight(6, 3, 1, 1)},
        FREE,
        AS_IT_WAS,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text, constants, costs, expected = CASES[name]
    assert show(narrow(parse(text, **constants), costs)) == golden(expected)
