"""ScalarInputs: operators that are to read scalars are handed no constant vectors, which onnxruntime refuses."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.channels.engine import Engine
from tests.graphs import indices, parse, show, weight
from tests.passes.apply import edited
from upscale_onnx.passes.scalar_inputs import ScalarInputs

DEAD = [1, 2, 5]
GIVEN = {
    "zero": indices(0)[0], "one": indices(1)[0], "first": indices(1), "two": indices(2)[0], "three": indices(3),
    "four": indices(4), "six": indices(6), "rate": indices(8000), "low": np.float32([0]), "high": np.float32([4000]),
    "yes": np.array(True),
}  # fmt: skip


def unchecked(text: str) -> onnx.ModelProto:
    """A model that onnx's checker may refuse."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> tiny {text}')
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in GIVEN.items() if k in text)
    return model


@pytest.mark.parametrize(
    ("made", "given"),
    [("n = Range(zero, six, one)", 1), ("m = Constant<value_ints=[6]>()\n n = Range(zero, m, one)", 1),
     ("n = HannWindow(six)", 1), ("n = HammingWindow(six)", 1), ("n = BlackmanWindow(six)", 1),
     ("n = MelWeightMatrix(six, four, rate, low, high)", 5), ("n = DFT(x, four, first)", 2),
     ("n = STFT(x, one, , four)", 1)],
)  # fmt: skip
def test_constant_vectors_of_one_entry_become_scalars(made: str, given: int) -> None:
    model = unchecked(f"(float[1,8,1] x) => (float n) {{\n {made}\n}}")
    model.graph.output[0].ClearField("type")
    with pytest.raises(Exception, match="scalar"):
        Engine(model)
    changed, done = edited(model, ScalarInputs())
    assert done.edits == given
    Engine(changed)


def test_scalars_and_computed_vectors_stay() -> None:
    text = """(int64[3] x, int64[1] n) => (int64[L] y, int64[3] z) {
        y = Range(zero, n, one)
        r = Range(zero, last, one)
        z = Add(x, r)
    }"""
    model = parse(text, zero=GIVEN["zero"], one=GIVEN["one"], last=indices(3)[0])
    changed, done = edited(model, ScalarInputs())
    assert not done.edits
    assert show(changed) == show(model)


# What makes a constant vector of one entry: a known size that a long Range reads, the branch of an If, a nested one.
KNOWN_SIZE = """s = Shape(h)
    n = Slice(s, three, four)
    q = Range(zero, n, one)
    r = Where(given, q, zero)"""
BRANCH = """n = If (yes) <
        then_branch = a () => (int64[1] a1) { a1 = Constant<value_ints=[100]>() },
        else_branch = b () => (int64[1] b1) { b1 = Constant<value_ints=[200]>() }
    >
    r = Range(zero, n, one)"""
NESTED = """r = If (given) <
        then_branch = c () => (int64[L] c1) {
            n = If (yes) <
                then_branch = a () => (int64[1] a1) { a1 = Constant<value_ints=[100]>() },
                else_branch = b () => (int64[1] b1) { b1 = Constant<value_ints=[200]>() }
            >
            c1 = Range(zero, n, one)
        },
        else_branch = d () => (int64[L] d1) {
            t = Shape(h)
            m = Slice(t, three, four)
            d1 = Range(zero, m, one)
        }
    >"""
LOOP = """k, r = Loop (two, , zero) <
        body = c (int64 i, bool go, int64 held) => (bool go2, int64 held2, int64[100] c1) {
            go2 = Identity(go)
            held2 = Add(held, i)
            t = Shape(h)
            m = Slice(t, three, four)
            q = Range(zero, m, one)
            c1 = Add(q, held2)
        }
    >"""


@pytest.mark.parametrize("made", [KNOWN_SIZE, BRANCH, NESTED, LOOP])
def test_constants_that_a_compile_makes(made: str) -> None:
    model = unchecked(
        f"""(float[N,4,6,100] x, bool given) => (float[N,3,6,100] y, int64 r) {{
            h = Conv(x, w)
            {made}
            y = Conv(h, v)
        }}"""
    )
    model.graph.output[1].type.tensor_type.ClearField("shape")
    layers = {"w": weight(8, 4, 1, 1, rows=DEAD), "v": weight(3, 8, 1, 1)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in layers.items())
    small = upscale_onnx.compile(model, export="keep", align=1, race=False, verify=False).model
    assert [8 - len(DEAD), 4, 1, 1] in [list(tensor.dims) for tensor in small.graph.initializer]
    x = np.random.default_rng(0).integers(-3, 4, (2, 4, 6, 100)).astype(np.float32)
    before, after = Engine(model), Engine(small)
    for given in (True, False):
        for expected, found in zip(
            *(engine.run({"x": x, "given": np.array(given)}) for engine in (before, after)), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
