"""Goldens of FoldConstants."""

from __future__ import annotations

import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import bias, golden, parse, show, weight
from tests.passes.apply import fold
from upscale_onnx.types import Array

DEAD = weight(4, 3, 1, 1, rows=range(4))

CASES: dict[str, tuple[str, dict[str, Array], str]] = {
    "a branch of constants becomes one entry per channel": (
        """(float[1,3,4,4] x) => (float[1,4,4,4] y) {
            a = Conv(x, w1)
            b = Conv(x, w2, b2)
            y = Add(a, b)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": DEAD, "b2": bias(1, 2, 3, 4)},
        """a = Conv(x, w1{4x3x1x1})
        y = Add(a, b_constant{1x4x1x1})""",
    ),
    "what carries constants is computed": (
        """(float[1,3,4,4] x) => (float[1,4,4,4] y) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            c = Relu(b)
            d = Sigmoid(c)
            y = Mul(a, d)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": DEAD},
        """a = Conv(x, w1{4x3x1x1})
        y = Mul(a, d_constant{1x4x1x1})""",
    ),
    "adding zeros goes": (
        """(float[1,3,4,4] x) => (float[1,4,4,4] y) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            c = Add(a, b)
            y = Neg(c)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": DEAD},
        """a = Conv(x, w1{4x3x1x1})
        y = Neg(a)""",
    ),
    "adding zeros stays where it names a graph output": (
        """(float[1,3,4,4] x) => (float[1,4,4,4] y) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            y = Add(a, b)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": DEAD},
        """a = Conv(x, w1{4x3x1x1})
        y = Add(a, b_constant{1x4x1x1})""",
    ),
    "subtracting from zeros is no identity": (
        """(float[1,3,4,4] x) => (float[1,4,4,4] y) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            c = Sub(b, a)
            y = Abs(c)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": DEAD},
        """a = Conv(x, w1{4x3x1x1})
        c = Sub(b_constant{1x4x1x1}, a)
        y = Abs(c)""",
    ),
    "a branch that gives the result its shape stays": (
        """(float[1,3,1,1] x, float[1,3,4,4] v) => (float[1,4,4,4] y) {
            a = Conv(x, w1)
            b = Conv(v, w2, b2)
            y = Add(a, b)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": DEAD, "b2": bias(1, 2, 3, 4)},
        """a = Conv(x, w1{4x3x1x1})
        b = Conv(v, w2{4x3x1x1}, b2{4})
        y = Add(a, b)""",
    ),
    "a branch of which one channel varies stays": (
        """(float[1,3,4,4] x) => (float[1,4,4,4] y) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            y = Add(a, b)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": weight(4, 3, 1, 1, rows=[0, 1, 2])},
        """a = Conv(x, w1{4x3x1x1})
        b = Conv(x, w2{4x3x1x1})
        y = Add(a, b)""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text, constants, expected = CASES[name]
    assert show(fold(parse(text, **constants))) == golden(expected)


def test_a_sum_that_a_subgraph_reads_keeps_its_name() -> None:
    # Both branches name a value alike, so they stay parts of their node.
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        tiny (float[1,3,4,4] x, bool c) => (float[1,4,4,4] y, float[1,4,4,4] z) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            s = Add(a, b)
            y = Neg(s)
            z = If(c) <
                then_branch = yes () => (float[1,4,4,4] t) { t = Neg(s) },
                else_branch = no () => (float[1,4,4,4] t) { t = Abs(s) }
            >
        }"""
    )
    constants = {"w1": weight(4, 3, 1, 1), "w2": DEAD}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    assert [node.op_type for node in fold(model).graph.node] == ["Conv", "Add", "Neg", "If"]
