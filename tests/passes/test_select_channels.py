"""Goldens of SelectChannels: where a selection is made, and which are shared."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import bias, golden, indices, parse, show, weight
from tests.passes.apply import remove, select
from upscale_onnx.types import Array

NORM = {"scale": bias(1, 2, 1, 2), "shift": bias(1, 2, 3, 4), "mean": bias(0, 1, 0, 1), "var": bias(1, 4, 1, 4)}
PARTS = {"w1": weight(3, 3, 1, 1), "w2": weight(3, 3, 1, 1, seed=1), "w4": weight(2, 3, 1, 1), "w5": weight(2, 3, 1, 1)}
JOINED = """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z, float[1,2,4,4] u) {
    a = Conv(x, w1)
    b = Conv(x, w2)
    c = Concat<axis=1>(a, b)
    r = Relu(c)
    y = Conv(r, w3)
    z = Conv(a, w4)
    u = Conv(b, w5)
}"""
EXISTING = {
    "Slice": "s = Slice(a, two, six, axis)",
    "Gather": "s = Gather<axis=1>(a, picks)",
    "Split": "unread, s = Split<axis=1>(a, sizes)",
}

CASES: dict[str, tuple[str, dict[str, Array], str]] = {
    "in front of what only this consumer reads": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
            a = Conv(x, w1)
            n = BatchNormalization<epsilon=0.0>(a, scale, shift, mean, var)
            r = Relu(n)
            y = Conv(r, w2)
            z = Conv(a, w3)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": weight(2, 4, 1, 1, columns=[1]), "w3": weight(2, 4, 1, 1), **NORM},
        """a = Conv(x, w1{4x3x1x1})
        a_selected = Gather<axis=1>(a, [0,2,3])
        n = BatchNormalization<epsilon=0.0>(a_selected, scale_1{3}, shift_1{3}, mean_1{3}, var_1{3})
        r = Relu(n)
        y = Conv(r, w2_1{2x3x1x1})
        z = Conv(a, w3{2x4x1x1})""",
    ),
    "behind what others read too, and shared": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z, float[1,2,4,4] u) {
            a = Conv(x, w1)
            r = Relu(a)
            y = Conv(r, w2)
            z = Conv(r, w3)
            u = Conv(r, w4)
        }""",
        {
            "w1": weight(4, 3, 1, 1),
            "w2": weight(2, 4, 1, 1, columns=[1]),
            "w3": weight(2, 4, 1, 1, columns=[1], seed=1),
            "w4": weight(2, 4, 1, 1),
        },
        """a = Conv(x, w1{4x3x1x1})
        r = Relu(a)
        r_selected = Gather<axis=1>(r, [0,2,3])
        y = Conv(r_selected, w2_1{2x3x1x1})
        z = Conv(r_selected, w3_1{2x3x1x1})
        u = Conv(r, w4{2x4x1x1})""",
    ),
    "behind a graph output": (
        """(float[1,3,4,4] x) => (float[1,4,4,4] r, float[1,2,4,4] y) {
            a = Conv(x, w1)
            r = Relu(a)
            y = Conv(r, w2)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": weight(2, 4, 1, 1, columns=[1])},
        """a = Conv(x, w1{4x3x1x1})
        r = Relu(a)
        r_selected = Gather<axis=1>(r, [0,2,3])
        y = Conv(r_selected, w2_1{2x3x1x1})""",
    ),
    "on each part of a Concat": (
        JOINED,
        {**PARTS, "w3": weight(2, 6, 1, 1, columns=[0, 4])},
        """a = Conv(x, w1{3x3x1x1})
        b = Conv(x, w2{3x3x1x1})
        a_selected = Slice(a, [1], [3], [1])
        b_selected = Gather<axis=1>(b, [0,2])
        c = Concat<axis=1>(a_selected, b_selected)
        r = Relu(c)
        y = Conv(r, w3_1{2x4x1x1})
        z = Conv(a, w4{2x3x1x1})
        u = Conv(b, w5{2x3x1x1})""",
    ),
    "a part that is not read is not concatenated": (
        JOINED,
        {**PARTS, "w3": weight(2, 6, 1, 1, columns=[3, 4, 5])},
        """a = Conv(x, w1{3x3x1x1})
        b = Conv(x, w2{3x3x1x1})
        r = Relu(a)
        y = Conv(r, w3_1{2x3x1x1})
        z = Conv(a, w4{2x3x1x1})
        u = Conv(b, w5{2x3x1x1})""",
    ),
}

STEP = {"s": np.asarray(1, np.float32), "z0": np.asarray(8, np.uint8)}
ROWS = {"rows": bias(1, 1, 1, 1), "points": np.full(4, 8, np.uint8)}
QUANTISED: dict[str, tuple[str, dict[str, Array], str]] = {
    "each reader gets a DequantizeLinear of its own": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z, float[1,2,4,4] u) {
            a = Conv(x, w1)
            q = QuantizeLinear<axis=1>(a, rows, points)
            d = DequantizeLinear<axis=1>(q, rows, points)
            r = Relu(d)
            y = Conv(r, w2)
            z = Conv(d, w3)
            u = Conv(d, w4)
        }""",
        {
            "w2": weight(2, 4, 1, 1, columns=[1]),
            "w3": weight(2, 4, 1, 1, columns=[1]),
            "w4": weight(2, 4, 1, 1),
            **ROWS,
        },
        """a = Conv(x, w1{4x3x1x1})
        q = QuantizeLinear<axis=1>(a, rows{4}, [8,8,8,8])
        d = DequantizeLinear<axis=1>(q, rows{4}, [8,8,8,8])
        q_selected = Gather<axis=1>(q, [0,2,3])
        d_selected = DequantizeLinear<axis=1>(q_selected, rows_1{3}, [8,8,8])
        r = Relu(d_selected)
        y = Conv(r, w2_1{2x3x1x1})
        z = Conv(d_selected, w3_1{2x3x1x1})
        u = Conv(d, w4{2x4x1x1})""",
    ),
    "behind a QuantizeLinear, if numbers in floating point come before": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
            a = Conv(x, w1)
            q = QuantizeLinear(a, s, z0)
            d = DequantizeLinear(q, s, z0)
            y = Conv(d, w2)
            z = Conv(a, w3)
        }""",
        {"w2": weight(2, 4, 1, 1, columns=[1]), "w3": weight(2, 4, 1, 1), **STEP},
        """a = Conv(x, w1{4x3x1x1})
        q = QuantizeLinear(a, s{}, 8)
        q_selected = Gather<axis=1>(q, [0,2,3])
        d = DequantizeLinear(q_selected, s{}, 8)
        y = Conv(d, w2_1{2x3x1x1})
        z = Conv(a, w3{2x4x1x1})""",
    ),
    "in front of a QuantizeLinear, if integers come before": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
            a = Conv(x, w1)
            q = QuantizeLinear(a, s, z0)
            d = DequantizeLinear(q, s, z0)
            r = Relu(d)
            p = QuantizeLinear(r, s, z0)
            e = DequantizeLinear(p, s, z0)
            y = Conv(e, w2)
            z = Conv(d, w3)
        }""",
        {"w2": weight(2, 4, 1, 1, columns=[1]), "w3": weight(2, 4, 1, 1), **STEP},
        """a = Conv(x, w1{4x3x1x1})
        q = QuantizeLinear(a, s{}, 8)
        d = DequantizeLinear(q, s{}, 8)
        q_selected = Gather<axis=1>(q, [0,2,3])
        d_selected = DequantizeLinear(q_selected, s{}, 8)
        r = Relu(d_selected)
        p = QuantizeLinear(r, s{}, 8)
        e = DequantizeLinear(p, s{}, 8)
        y = Conv(e, w2_1{2x3x1x1})
        z = Conv(d, w3{2x4x1x1})""",
    ),
}


@pytest.mark.parametrize("name", QUANTISED)
def test_selections_are_made_of_integers(name: str) -> None:
    text, weights, expected = QUANTISED[name]
    assert show(select(parse(text, w1=weight(4, 3, 1, 1), **weights))) == golden(expected)


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text, constants, expected = CASES[name]
    assert show(select(parse(text, **constants))) == golden(expected)


@pytest.mark.parametrize("op", EXISTING)
def test_a_selection_reads_around_another(op: str) -> None:
    """Positions 3, 4 and 5 of `a`, whichever way the graph asks for 2 to 5 of which the consumer drops the first."""
    model = parse(
        f"""(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,6,4,4] v) {{
            a = Conv(x, w1)
            {EXISTING[op]}
            y = Conv(s, w2)
            v = Neg(a)
        }}""",
        w1=weight(6, 3, 1, 1),
        w2=weight(2, 4, 1, 1, columns=[0]),
        two=indices(2),
        six=indices(6),
        axis=indices(1),
        picks=indices(2, 5, 3, 4),
        sizes=indices(2, 4),
    )
    picked = "Gather<axis=1>(a, [5,3,4])" if op == "Gather" else "Slice(a, [3], [6], [1])"
    expected = f"""a = Conv(x, w1{{6x3x1x1}})
        a_selected = {picked}
        y = Conv(a_selected, w2_1{{2x3x1x1}})
        v = Neg(a)"""
    assert show(remove(select(model))) == golden(expected)


def test_two_ranges_that_overlap_are_both_contiguous() -> None:
    model = parse(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
            a = Conv(x, w1)
            y = Conv(a, w2)
            z = Conv(a, w3)
        }""",
        w1=weight(6, 3, 1, 1),
        w2=weight(2, 6, 1, 1, columns=[1, 3]),
        w3=weight(2, 6, 1, 1, columns=[0, 2]),
    )
    after = show(remove(select(model), reorder=True))
    assert (after.count("Slice"), after.count("Gather")) == (2, 0)
    assert show(remove(select(model))).count("Gather") == 2
