"""Goldens of OpenStacks."""

from __future__ import annotations

import numpy as np
import pytest

import upscale_onnx
from tests.graphs import golden, indices, parse, show, weight
from tests.passes.apply import applied
from upscale_onnx.passes.open_stacks import OpenStacks
from upscale_onnx.types import Array

STACK = """(float[N,5,6] x) => (float[N,2,5,4] y, float[N,2,5,4] z) {
    a = MatMul(x, w)
    b = Reshape(a, apart)
    c = Transpose<perm=[2,0,3,1,4]>(b)
    q = Gather<axis=0>(c, zero)
    v = Gather<axis=0>(c, one)
    y = MatMul(q, wq)
    z = MatMul(v, wv)
}"""
UNEVEN: dict[str, Array] = {
    "w": weight(6, 12), "apart": indices(0, 0, 2, 2, 3), "zero": np.int64(0), "one": np.int64(-1),
    "wq": weight(3, 4), "wv": weight(3, 4, rows=[1]),
}  # fmt: skip
SPLIT = STACK.replace("q = Gather<axis=0>(c, zero)", "p, o = Split<axis=0, num_outputs=2>(c)").replace(
    "v = Gather<axis=0>(c, one)", "q = Squeeze(p, first)\nv = Squeeze(o, first)"
)
SLICED = SPLIT.replace(
    "p, o = Split<axis=0, num_outputs=2>(c)", "p = Slice(c, first, second, first)\no = Slice(c, second, third, first)"
)
OPENED = """a = MatMul(x, w{6x12})
    a_part, a_part_1 = Split<axis=2>(a, [6,6])
    a_part_reshape = Reshape(a_part, [0,5,2,3])
    q = Transpose<perm=[0,2,1,3]>(a_part_reshape)
    a_part_1_reshape = Reshape(a_part_1, [0,5,2,3])
    v = Transpose<perm=[0,2,1,3]>(a_part_1_reshape)
    y = MatMul(q, wq{3x4})
    z = MatMul(v, wv{3x4})"""

KEPT = """a = MatMul(x, w{6x12})
        b = Reshape(a, [0,0,2,2,3])
        c = Transpose<perm=[2,0,3,1,4]>(b)
        q = Gather<axis=0>(c, 0)
        v = Gather<axis=0>(c, -1)
        y = MatMul(q, wq{3x4})
        z = MatMul(v, wv{3x4})"""

CASES: dict[str, tuple[str, dict[str, Array], str]] = {
    "each part by a Gather": (STACK, UNEVEN, OPENED),
    "a Split and Squeezes": (SPLIT, UNEVEN | {"first": indices(0)}, OPENED),
    "Slices and Squeezes": (SLICED, UNEVEN | {"first": indices(0), "second": indices(1), "third": indices(2)}, OPENED),
    "parts that keep as much stay together": (
        STACK,
        UNEVEN | {"wv": weight(3, 4)},
        KEPT,
    ),
    "sizes that are not known": (
        STACK.replace("[N,5,6]", "[N,T,6]").replace("[N,2,5,4]", "[N,2,T,4]"),
        UNEVEN | {"apart": indices(0, -1, 2, 2, 3)},
        OPENED.replace("[0,5,2,3]", "[0,0,2,3]"),
    ),
    "a part with the axis of the parts": (
        STACK.replace("[N,2,5,4] z", "[1,N,2,5,4] z"),
        UNEVEN | {"one": indices(1)},
        OPENED.replace("v = Tr", "a_part_1_reshape_transpose = Tr").replace(
            "y = ", "v = Unsqueeze(a_part_1_reshape_transpose, [0])\ny = "
        ),
    ),
    "a part that is also a result": (
        STACK.replace("[N,2,5,4] z", "[N,2,5,4] z, float[N,2,5,3] q"),
        UNEVEN,
        OPENED,
    ),
    "a stack that is a result stays": (
        STACK.replace("[N,2,5,4] z", "[N,2,5,4] z, float[2,N,2,5,3] c"),
        UNEVEN,
        KEPT,
    ),
    "a stack that something reads whole stays": (
        STACK.replace("[N,2,5,4] z", "[N,2,5,4] z, float[2,N,2,5,3] s").replace("q = G", "s = Relu(c)\nq = G"),
        UNEVEN,
        KEPT.replace("q = G", "s = Relu(c)\nq = G"),
    ),
    "parts behind the heads": (
        STACK.replace("[2,0,3,1,4]", "[3,0,2,1,4]"),
        UNEVEN,
        """a = MatMul(x, w{6x12})
        a_reshape = Reshape(a, [0,5,2,6])
        a_reshape_part, a_reshape_part_1 = Split<axis=3>(a_reshape, [3,3])
        q = Transpose<perm=[0,2,1,3]>(a_reshape_part)
        v = Transpose<perm=[0,2,1,3]>(a_reshape_part_1)
        y = MatMul(q, wq{3x4})
        z = MatMul(v, wv{3x4})""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text, constants, expected = CASES[name]
    assert show(applied(parse(text, **constants), OpenStacks())) == golden(expected)


def test_an_old_form_of_split() -> None:
    text = STACK.replace("Gather<axis=0>(c, one)", "Gather<axis=0>(c, last)")
    model = parse(text, 11, **(UNEVEN | {"last": np.int64(1)}))
    assert "a_part, a_part_1 = Split<axis=2, split=[6,6]>(a)" in show(applied(model, OpenStacks()))


def test_the_parts_lose_their_own_channels() -> None:
    """Channel 1 of the second part leaves in both heads; all of the first part stay."""
    compiled = upscale_onnx.compile(parse(STACK, **UNEVEN), export="keep", align=1, race=False).model
    sizes = {tensor.name: list(tensor.dims) for tensor in compiled.graph.initializer if len(tensor.dims) == 2}
    assert sizes == {"w": [6, 10], "wq": [3, 4], "wv": [2, 4]}
