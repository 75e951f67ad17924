"""Goldens of OpenSequences."""

from __future__ import annotations

import pytest

import upscale_onnx
from tests.graphs import golden, indices, parse, show, weight
from tests.passes.apply import applied
from upscale_onnx.passes.open_sequences import OpenSequences
from upscale_onnx.types import Array

CASES: dict[str, tuple[str, dict[str, Array], str, int]] = {
    "an element": (
        """(float[1,3] x, float[1,4] z) => (float[1,4] y) {
            s = SequenceConstruct(x, z)
            e = SequenceAt(s, last)
            y = Relu(e)
        }""",
        {"last": indices(-1)[0]},
        """e = Identity(z)
        y = Relu(e)""",
        18,
    ),
    "a value that is there": (
        """(float[1,3] x) => (float[1,3] y) {
            o = Optional(x)
            e = OptionalGetElement(o)
            y = Relu(e)
        }""",
        {},
        """e = Identity(x)
        y = Relu(e)""",
        18,
    ),
    "all elements": (
        """(float[1,3] x, float[1,4] z) => (float[1,11] y) {
            s = SequenceConstruct(x, z)
            t = SequenceInsert(s, z, first)
            y = ConcatFromSequence<axis=-1>(t)
        }""",
        {"first": indices(0)[0]},
        "y = Concat<axis=-1>(z, x, z)",
        18,
    ),
    "elements on a new axis": (
        """(float[1,3] x, float[1,3] z) => (float[1,2,3] y) {
            n = SequenceEmpty()
            s = SequenceInsert(n, x)
            t = SequenceInsert(s, z)
            y = ConcatFromSequence<axis=1, new_axis=1>(t)
        }""",
        {},
        """x_unsqueezed = Unsqueeze(x, [1])
        z_unsqueezed = Unsqueeze(z, [1])
        y = Concat<axis=1>(x_unsqueezed, z_unsqueezed)""",
        18,
    ),
    "a split": (
        """(float[2,7] x) => (float[2,3] y, float[2,1] w) {
            s = SplitToSequence<axis=-1>(x, three)
            y = SequenceAt(s, second)
            t = SequenceErase(s, second)
            w = SequenceAt(t, second)
        }""",
        {"three": indices(3)[0], "second": indices(1)[0]},
        """s_element, s_element_1, s_element_2 = Split<axis=1>(x, [3,3,1])
        y = Identity(s_element_1)
        w = Identity(s_element_2)""",
        18,
    ),
    "a split of an older model": (
        """(float[2,3] x) => (float[2,2] y) {
            s = SplitToSequence<axis=1>(x, sizes)
            y = SequenceAt(s, second)
        }""",
        {"sizes": indices(1, 2), "second": indices(1)[0]},
        """s_element, s_element_1 = Split<axis=1, split=[1,2]>(x)
        y = Identity(s_element_1)""",
        11,
    ),
    "a split that is read at run time": (
        """(float[2,3] x) => (float[2,1] y, int64 n) {
            s = SplitToSequence<axis=1>(x, one)
            n = SequenceLength(s)
            r = ReduceMax<keepdims=0>(x)
            p = Sigmoid(r)
            i = Cast<to=7>(p)
            y = SequenceAt(s, i)
        }""",
        {"one": indices(1)[0]},
        """s = SplitToSequence<axis=1>(x, 1)
        n = SequenceLength(s)
        r = ReduceMax<keepdims=0>(x)
        p = Sigmoid(r)
        i = Cast<to=7>(p)
        y = SequenceAt(s, i)""",
        18,
    ),
    "an element that is chosen at run time": (
        """(float[1,3] x, float[1,3] z) => (float[1,3] y) {
            r = ReduceMax<keepdims=0>(x)
            p = Sigmoid(r)
            i = Cast<to=7>(p)
            s = SequenceConstruct(x, z)
            y = SequenceAt(s, i)
        }""",
        {},
        """r = ReduceMax<keepdims=0>(x)
        p = Sigmoid(r)
        i = Cast<to=7>(p)
        s = SequenceConstruct(x, z)
        y = SequenceAt(s, i)""",
        18,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text, constants, expected, opset = CASES[name]
    assert show(applied(parse(text, opset, **constants), OpenSequences())) == golden(expected)


def test_channels_go_through_a_sequence() -> None:
    text = """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
        a = Conv(x, w1)
        b = Conv(x, w2)
        s = SequenceConstruct(a, b)
        c = ConcatFromSequence<axis=1>(s)
        y = Conv(c, w3)
    }"""
    weights = {"w1": weight(4, 3, 1, 1), "w2": weight(4, 3, 1, 1), "w3": weight(2, 8, 1, 1, columns=(0, 2, 5))}
    result = upscale_onnx.compile(parse(text, **weights), export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert result.report.after.parameters == 5 * 3 + 5 * 2
