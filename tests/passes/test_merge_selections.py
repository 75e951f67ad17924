"""Goldens of MergeSelections."""

from __future__ import annotations

import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import golden, indices, parse, show
from tests.passes.apply import edited, merge
from upscale_onnx.passes.merge_selections import MergeSelections
from upscale_onnx.types import Array

NUMBERS = {str(n): indices(n) for n in range(7)}
NUMBERS = {f"i{name}": value for name, value in NUMBERS.items()} | {"minus6": indices(-6), "end": indices(2**63 - 1)}

CASES: dict[str, tuple[str, dict[str, Array], str]] = {
    "an Identity inside goes, one at a graph output stays": (
        "(float[6] x) => (float[6] y) { a = Identity(x) b = Neg(a) y = Identity(b) }",
        {},
        "b = Neg(x)\ny = Identity(b)",
    ),
    "a Slice of everything goes": (
        "(float[2,6] x) => (float[2,6] y) { a = Slice(x, i0, i6, i1) y = Neg(a) }",
        {},
        "y = Neg(x)",
    ),
    "however it says so": (
        "(float[2,6] x) => (float[2,6] y) { a = Slice(x, minus6, end, i1, i1) y = Neg(a) }",
        {},
        "y = Neg(x)",
    ),
    "a Slice backwards stays": (
        "(float[6] x) => (float[6] y) { a = Slice(x, i5, start, i0, back) y = Neg(a) }",
        {"start": indices(-7), "back": indices(-1)},
        "a = Slice(x, [5], [-7], [0], [-1])\ny = Neg(a)",
    ),
    "a Slice up to a size of its own stays where the size is not known": (
        "(float[N] x) => (float[M] y) { a = Slice(x, i0, i6) y = Neg(a) }",
        {},
        "a = Slice(x, [0], [6])\ny = Neg(a)",
    ),
    "a Slice to the end goes where the size is not known": (
        "(float[N] x) => (float[N] y) { a = Slice(x, i0, end) y = Neg(a) }",
        {},
        "y = Neg(x)",
    ),
    "a Gather of everything in order goes": (
        "(float[2,3] x) => (float[2,3] y) { a = Gather<axis=1>(x, all) y = Neg(a) }",
        {"all": indices(0, -2, 2)},
        "y = Neg(x)",
    ),
    "a Gather of everything in another order stays": (
        "(float[2,3] x) => (float[2,3] y) { a = Gather<axis=1>(x, all) y = Neg(a) }",
        {"all": indices(0, 2, 1)},
        "a = Gather<axis=1>(x, [0,2,1])\ny = Neg(a)",
    ),
    "a scalar index drops the axis and stays": (
        "(float[1,3] x) => (float[3] y) { a = Gather(x, scalar) y = Neg(a) }",
        {"scalar": indices(0).reshape(())},
        "a = Gather(x, 0)\ny = Neg(a)",
    ),
    "equal ones become one, whatever their constants are called": (
        "(float[6] x) => (float[2] y, float[2] z) { a = Gather(x, p) b = Gather(x, q) y = Neg(a) z = Abs(b) }",
        {"p": indices(4, 1), "q": indices(4, 1)},
        "a = Gather(x, [4,1])\ny = Neg(a)\nz = Abs(a)",
    ),
    "and so on behind them": (
        """(float[6] x) => (float[2] y, float[2] z) {
            a = Slice(x, i1, i5) b = Slice(x, i1, i5) c = Gather(a, p) d = Gather(b, p) y = Neg(c) z = Abs(d)
        }""",
        {"p": indices(3, 1)},
        "a = Slice(x, [1], [5])\nc = Gather(a, [3,1])\ny = Neg(c)\nz = Abs(c)",
    ),
    "other axes, other values and other indices stay apart": (
        """(float[6,6] x, float[6,6] v) => (float[2,6] a, float[6,2] b, float[2,6] c, float[2,6] d) {
            a = Gather(x, p) b = Gather<axis=1>(x, p) c = Gather(v, p) d = Gather(x, q)
        }""",
        {"p": indices(3, 1), "q": indices(1, 3)},
        "a = Gather(x, [3,1])\nb = Gather<axis=1>(x, [3,1])\nc = Gather(v, [3,1])\nd = Gather(x, [1,3])",
    ),
    "graph outputs keep their names": (
        "(float[6] x) => (float[2] a, float[2] b) { a = Gather(x, p) b = Gather(x, p) }",
        {"p": indices(3, 1)},
        "a = Gather(x, [3,1])\nb = Identity(a)",
    ),
    "a Gather of a Gather is one": (
        "(float[6] x) => (float[3] y) { a = Gather(x, p) b = Gather(a, q) y = Neg(b) }",
        {"p": indices(5, 0, 3), "q": indices(-1, 0, 0)},
        "b = Gather(x, [3,5,5])\ny = Neg(b)",
    ),
    "along another axis it is two": (
        "(float[6,6] x) => (float[2,2] y) { a = Gather(x, p) b = Gather<axis=1>(a, p) y = Neg(b) }",
        {"p": indices(5, 0)},
        "a = Gather(x, [5,0])\nb = Gather<axis=1>(a, [5,0])\ny = Neg(b)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text, constants, expected = CASES[name]
    used = {
        key: value for key, value in (NUMBERS | constants).items() if key in text.replace(",", " ").replace(")", " ")
    }
    assert show(merge(parse(text, **used))) == golden(expected)


def test_what_a_subgraph_reads_stays() -> None:
    # Both branches name a value alike, so they stay parts of their node.
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        tiny (float[6] x, bool c) => (float[6] y, float[6] z) {
            a = Identity(x)
            b = Neg(a)
            d = Identity(b)
            y = Neg(d)
            z = If(c) <
                then_branch = yes () => (float[6] t) { t = Neg(d) },
                else_branch = no () => (float[6] t) { t = Identity(a) }
            >
        }"""
    )
    assert [node.op_type for node in merge(model).graph.node] == ["Identity", "Neg", "Identity", "Neg", "If"]


def test_indices_out_of_range_are_left_to_the_runtime() -> None:
    model = parse(
        "(float[6] x) => (float[2] y) { a = Gather(x, p) b = Gather(a, q) y = Neg(b) }",
        p=indices(5, 0),
        q=indices(0, 1),
    )
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    broken.graph.initializer[1].CopyFrom(numpy_helper.from_array(indices(0, 2), "q"))
    after, done = edited(broken, MergeSelections())
    assert done.edits == 0
    assert after == broken
