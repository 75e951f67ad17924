"""Goldens of SplitProducers: what is done per piece, and how pieces are read."""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from tests.graphs import bias, golden, parse, show, weight
from tests.passes.apply import applied, edited, remove
from tests.plan.prices import Prices
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.passes.split_producers import SplitProducers
from upscale_onnx.plan.splitting import ValueSplit, plan_splits
from upscale_onnx.types import Array

NORM = {"scale": bias(1, 2, 1, 2), "shift": bias(1, 2, 3, 4), "mean": bias(0, 1, 0, 1), "var": bias(1, 4, 1, 4)}
FORK = """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
    a = Conv(x, w1, b1)
    r = Relu(a)
    y = Conv(r, w2, b2)
    z = Conv(r, w3)
}"""
FORKED = {
    "w1": weight(8, 3, 1, 1),
    "b1": bias(*range(8)),
    "w2": weight(2, 8, 1, 1, columns=[6, 7]),
    "b2": bias(1, 2),
    "w3": weight(2, 8, 1, 1, columns=[0, 1, 3]),
}
PIECES = """a_piece0 = Conv(x, w1_1{3x3x1x1}, b1_1{3})
    a_piece1 = Conv(x, w1_2{3x3x1x1}, b1_2{3})
    a_piece2 = Conv(x, w1_3{2x3x1x1}, b1_3{2})
    r_piece0 = Relu(a_piece0)
    r_piece1 = Relu(a_piece1)
    r_piece2 = Relu(a_piece2)"""


def split(model: onnx.ModelProto, summed: bool = True, count: int = 1) -> onnx.ModelProto:
    """`SplitProducers` where selections cost too much, each consumer of several pieces reading a sum or a Concat."""

    def chosen(now: Rewrite) -> list[ValueSplit]:
        return [_read_as(item, summed) for item in plan_splits(now.analysis, now.shapes, Prices(copy=1e9))]

    edit = SplitProducers(chosen)
    assert edited(model, edit)[1].edits == count
    return applied(model, edit)


def _read_as(item: ValueSplit, summed: bool) -> ValueSplit:
    reads = tuple(replace(read, summed=summed or len(read.pieces) == 1) for read in item.reads)
    return replace(item, reads=reads)


CASES: dict[str, tuple[str, dict[str, Array], bool, str]] = {
    "read as sums": (
        FORK,
        FORKED,
        True,
        f"""{PIECES}
        y_part0 = Conv(r_piece0, w2_1{{2x3x1x1}}, b2{{2}})
        y_part1 = Conv(r_piece1, w2_2{{2x3x1x1}})
        y = Add(y_part0, y_part1)
        z_part0 = Conv(r_piece0, w3_1{{2x3x1x1}})
        z_part2 = Conv(r_piece2, w3_2{{2x2x1x1}})
        z = Add(z_part0, z_part2)""",
    ),
    "read joined": (
        FORK,
        FORKED,
        False,
        f"""{PIECES}
        r_joined = Concat<axis=1>(r_piece0, r_piece1)
        y = Conv(r_joined, w2_1{{2x6x1x1}}, b2{{2}})
        r_joined_1 = Concat<axis=1>(r_piece0, r_piece2)
        z = Conv(r_joined_1, w3_1{{2x5x1x1}})""",
    ),
    "a piece that one consumer reads alone": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
            a = Conv(x, w1)
            y = Conv(a, w2)
            z = Conv(a, w3)
        }""",
        {
            "w1": weight(8, 3, 1, 1),
            "w2": weight(2, 8, 1, 1, columns=[4, 5, 6, 7]),
            "w3": weight(2, 8, 1, 1, columns=[0, 1, 2, 3]),
        },
        True,
        """a_piece0 = Conv(x, w1_1{4x3x1x1})
        a_piece1 = Conv(x, w1_2{4x3x1x1})
        y = Conv(a_piece0, w2_1{2x4x1x1})
        z = Conv(a_piece1, w3_1{2x4x1x1})""",
    ),
    "a sum, a normalization and a pooling, where they are read": (
        """(float[1,3,4,4] x) => (float[1,2,2,2] y, float[1,2,4,4] z) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            s = Add(a, b)
            n = BatchNormalization<epsilon=0.0>(s, scale, shift, mean, var)
            p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(s)
            y = Conv(p, w3)
            z = Conv(n, w4)
        }""",
        {
            "w1": weight(4, 3, 1, 1),
            "w2": weight(4, 3, 1, 1, seed=1),
            "w3": weight(2, 4, 1, 1, columns=[2, 3]),
            "w4": weight(2, 4, 1, 1, columns=[0, 1]),
            **NORM,
        },
        True,
        """a_piece0 = Conv(x, w1_1{2x3x1x1})
        a_piece1 = Conv(x, w1_2{2x3x1x1})
        b_piece0 = Conv(x, w2_1{2x3x1x1})
        b_piece1 = Conv(x, w2_2{2x3x1x1})
        s_piece0 = Add(a_piece0, b_piece0)
        s_piece1 = Add(a_piece1, b_piece1)
        n_piece1 = BatchNormalization<epsilon=0.0>(s_piece1, scale_2{2}, shift_2{2}, mean_2{2}, var_2{2})
        p_piece0 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(s_piece0)
        y = Conv(p_piece0, w3_1{2x2x1x1})
        z = Conv(n_piece1, w4_1{2x2x1x1})""",
    ),
    "whoever reads all of it reads it in its old order": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2] v) {
            a = Conv(x, w1)
            y = Conv(a, w2)
            f = Flatten(a)
            v = MatMul(f, w3)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": weight(2, 4, 1, 1, columns=[0, 2]), "w3": weight(64, 2)},
        True,
        """a_piece0 = Conv(x, w1_1{2x3x1x1})
        a_piece1 = Conv(x, w1_2{2x3x1x1})
        a_joined = Concat<axis=1>(a_piece0, a_piece1)
        a_restored = Gather<axis=1>(a_joined, [2,0,3,1])
        y = Conv(a_piece0, w2_1{2x2x1x1})
        f = Flatten(a_restored)
        v = MatMul(f, w3{64x2})""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text, constants, summed, expected = CASES[name]
    assert show(split(parse(text, **constants), summed)) == golden(expected)


def test_the_old_order_is_absorbed_by_the_weights() -> None:
    text, constants, *_ = CASES["whoever reads all of it reads it in its old order"]
    after = show(remove(split(parse(text, **constants)), reorder=True))
    assert "Gather" not in after
    assert "a_joined = Concat<axis=1>(a_piece0, a_piece1)" in after


@pytest.mark.parametrize("summed", [True, False])
def test_what_is_constant_is_added_once(summed: bool) -> None:
    """Channel 6 of `a` is its bias and in the first piece; `u` reads the two others, and has it in one bias."""
    model = parse(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z, float[1,2,4,4] u) {
            a = Conv(x, w1, b1)
            y = Conv(a, w2)
            z = Conv(a, w3)
            u = Conv(a, w4)
        }""",
        w1=weight(7, 3, 1, 1, rows=[6]),
        b1=bias(1, 1, 1, 1, 1, 1, 5),
        w2=weight(2, 7, 1, 1, columns=[4, 5]),
        w3=weight(2, 7, 1, 1, columns=[0, 1]),
        w4=weight(2, 7, 1, 1, columns=[2, 3]),
    )
    lines = show(split(model, summed)).splitlines()
    expected = ["u_part1 = Conv(a_piece1, w4_1{2x2x1x1}, u_part1_2{2})", "u_part2 = Conv(a_piece2, w4_2{2x2x1x1})"]
    assert [line for line in lines if "w4" in line] == (
        expected if summed else ["u = Conv(a_joined_2, w4_1{2x4x1x1}, u_2{2})"]
    )
    # The others read it: it fills up a piece of theirs.
    assert "a_piece0 = Conv(x, w1_1{3x3x1x1}, b1_1{3})" in lines


def test_nothing_planned_changes_nothing() -> None:
    model = parse(FORK, **{**FORKED, "w2": weight(2, 8, 1, 1), "w3": weight(2, 8, 1, 1)})
    assert show(split(model, count=0)) == show(model)
