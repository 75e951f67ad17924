"""The same network in old and new opsets and in other float types."""

from __future__ import annotations

import numpy as np
import pytest

from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, sizes
from upscale_onnx.types import Array

# What became an input of these operators in which opset.
SLICE = {8: "s = Slice<axes=[1], starts=[0], ends=[4]>(r)", 11: "s = Slice(r, zero, four, one)"}
PAD = {8: "p = Pad<pads=[0,2,0,0,0,2,0,0]>(s)", 11: "p = Pad(s, pads)"}
SQUEEZE = {8: "q = Squeeze<axes=[2,3]>(g)", 13: "q = Squeeze(g, places)"}
CLIP = {8: "c = Clip<min=0.0, max=100.0>(b)", 11: "c = Clip(b, low, high)"}
SUM = {8: "u = ReduceSum<axes=[2,3], keepdims=1>(c)", 13: "u = ReduceSum(c, places)"}
CONSTANTS: dict[int, dict[str, Array]] = {
    8: {},
    11: {
        "zero": ints(0), "four": ints(4), "one": ints(1), "pads": ints(0, 2, 0, 0, 0, 2, 0, 0),
        "low": np.float32(0), "high": np.float32(100),
    },
    13: {"places": ints(2, 3)},
}  # fmt: skip


def since(forms: dict[int, str], opset: int) -> str:
    """The form of an operator that an opset wants."""
    return forms[max(version for version in forms if version <= opset)]


@pytest.mark.parametrize("opset", [8, 9, 11, 13, 17, 21])
def test_opsets(target: Target, opset: int) -> None:
    constants: dict[str, Array] = {}
    for version, values in CONSTANTS.items():
        constants |= values if version <= opset else {}
    model = net(
        "(float[N,3,6,6] x) => (float[N,5] y)",
        f"""h = Conv(x, w1, b1)
        r = Relu(h)
        {since(SLICE, opset)}
        {since(PAD, opset)}
        a = Add(p, r)
        b = BatchNormalization<epsilon=0.0>(a, s1, o1, m1, v1)
        {since(CLIP, opset)}
        {since(SUM, opset)}
        n = Add(c, u)
        k = Conv<pads=[1,1,1,1]>(n, w2)
        g = GlobalMaxPool(k)
        {since(SQUEEZE, opset)}
        y = Gemm<transB=1>(q, w3, b3)""",
        opset,
        w1=weight(8, 3, 3, 3, silent=(1, 7)), b1=vector(8, c1=-1, c7=0), s1=vector(8), o1=vector(8, c7=0),
        m1=np.zeros(8, np.float32),
        v1=np.ones(8, np.float32), w2=weight(6, 8, 3, 3, dead=(0,), silent=(4,)), w3=weight(5, 6, dead=(2,)),
        b3=vector(5),
        **constants,
    )  # fmt: skip
    # Of eight: 7 is zero throughout; 0 is not read; 1 is zero until the shift. Its 2 from 0 keeps 0 as a class of 2.
    small = sizes(check(model, target))
    if target.tight:
        assert small["h"][0] <= 7
        assert small["k"][0] == 4
        assert small["y"] == (5, 4)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_float_types(target: Target, dtype: type[np.floating]) -> None:
    name = {np.float16: "float16", np.float64: "double"}[dtype]
    weights = {
        "w1": weight(8, 3, 1, 1, silent=(1, 6)), "b1": vector(8, c1=-1, c6=2),
        "w2": weight(6, 8, 1, 1, dead=(0,), silent=(3,)),
        "s": vector(6), "o": vector(6, c3=0), "m": np.zeros(6, np.float32), "v": np.ones(6, np.float32),
        "w3": weight(6, 5, into=0, out=1, dead=(2,)), "b3": vector(5),
    }  # fmt: skip
    model = net(
        f"({name}[N,3,4,4] x) => ({name} y)",
        """h = Conv(x, w1, b1)
        r = Relu(h)
        k = Conv(r, w2)
        n = BatchNormalization<epsilon=0.0>(k, s, o, m, v)
        p = GlobalMaxPool(n)
        f = Flatten(p)
        y = Gemm(f, w3, b3)""",
        **{key: values.astype(dtype) for key, values in weights.items()},
    )
    compiled = check(model, target)
    assert {t.data_type for t in compiled.graph.initializer} == {t.data_type for t in model.graph.initializer}
    if target.tight:
        small = sizes(compiled)
        assert (small["h"][0], small["k"], small["y"]) == (5, (4, 5, 1, 1), (4, 5))


def test_a_cast_in_the_middle(target: Target) -> None:
    """Mixed precision: half before, single behind; a large constant would be infinite as a half."""
    model = net(
        "(float16[N,3,4,4] x) => (float y)",
        """h = Conv(x, w1, b1)
        c = Cast<to=1>(h)
        k = Conv(c, w2, b2)
        d = Cast<to=10>(k)
        e = Cast<to=1>(d)
        y = Conv(e, w3)""",
        w1=weight(8, 3, 1, 1, silent=(1, 6)).astype(np.float16), b1=vector(8).astype(np.float16),
        w2=weight(6, 8, 1, 1, silent=(2, 4)), b2=vector(6, c2=70000), w3=weight(4, 6, 1, 1),
    )  # fmt: skip
    small = sizes(check(model, target))
    if target.tight:
        assert small["h"][0] == 6
        # The infinite one stays, the finite one folds.
        assert small["k"][0] == 5
