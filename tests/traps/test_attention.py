"""Multi-head self-attention as exporters write it: dead heads, dead features of heads, either alone."""

from __future__ import annotations

import numpy as np
import pytest

import upscale_onnx
from tests.traps.net import ints, net, weight
from tests.traps.targets import Target, check, sizes
from upscale_onnx.types import Array

HEADS, WIDTH, FEATURES = 3, 4, 12


def per_head(features: list[list[int]]) -> list[int]:
    """Flat channels of the given features, per head."""
    return [head * WIDTH + feature for head, chosen in enumerate(features) for feature in chosen]


SEPARATE = """q0 = MatMul(x, wq)
k0 = MatMul(x, wk)
v0 = MatMul(x, wv)
q1 = Reshape(q0, apart)
k1 = Reshape(k0, apart)
v1 = Reshape(v0, apart)
q = Transpose<perm=[0,2,1,3]>(q1)
k = Transpose<perm=[0,2,3,1]>(k1)
v = Transpose<perm=[0,2,1,3]>(v1)
"""
FUSED = """qkv0 = MatMul(x, wqkv)
qkv1 = Reshape(qkv0, apart3)
qkv2 = Transpose<perm=[2,0,3,1,4]>(qkv1)
q = Gather<axis=0>(qkv2, i0)
k2 = Gather<axis=0>(qkv2, i1)
v = Gather<axis=0>(qkv2, i2)
k = Transpose<perm=[0,1,3,2]>(k2)
"""
SPLIT = """qkv0 = MatMul(x, wqkv)
q0, k0, v0 = Split<axis=-1, num_outputs=3>(qkv0)
""" + SEPARATE[SEPARATE.index("q1 =") :]
FORMS = {"separate": SEPARATE, "fused": FUSED, "split": SPLIT}


def attention(form: str, wq: Array, wk: Array, wv: Array, wo: Array, softmax: bool) -> Array:
    constants = {"apart": ints(0, -1, HEADS, WIDTH), "flat": ints(0, -1, FEATURES)}
    if form == "separate":
        constants |= {"wq": wq, "wk": wk, "wv": wv}
    else:
        constants["wqkv"] = np.concatenate([wq, wk, wv], 1)
    if form == "fused":
        del constants["apart"]
        constants |= {f"i{i}": np.asarray(i) for i in range(3)} | {"apart3": ints(0, -1, 3, HEADS, WIDTH)}
    weigh = "p = Softmax<axis=-1>(s)" if softmax else "p = Relu(s)"
    return net(
        f"(float[N,T,{FEATURES}] x) => (float[N,T,{FEATURES}] y)",
        f"""{FORMS[form]}
        s0 = MatMul(q, k)
        s = Mul(s0, scale)
        {weigh}
        a = MatMul(p, v)
        t = Transpose<perm=[0,2,1,3]>(a)
        f = Reshape(t, flat)
        y = MatMul(f, wo)""",
        wo=wo, scale=np.float32(0.5), **constants,
    )  # fmt: skip


def square(dead: list[int] | tuple[int, ...] = (), silent: list[int] | tuple[int, ...] = (), seed: int = 0) -> Array:
    return weight(FEATURES, FEATURES, into=0, out=1, dead=dead, silent=silent, seed=seed)


@pytest.mark.parametrize("softmax", [False, True], ids=["linear", "softmax"])
@pytest.mark.parametrize("form", FORMS)
def test_a_dead_head(target: Target, form: str, softmax: bool) -> None:
    """Nobody reads what head 1 makes."""
    model = attention(form, square(), square(seed=1), square(seed=2), square(per_head([[], [0, 1, 2, 3], []])), softmax)
    small = sizes(check(model, target, tolerance=1e-5 if softmax else 0))
    wide = 8
    if form == "separate":
        assert [small[name][1] for name in ("q0", "k0", "v0")] == [wide] * 3
    else:
        assert small["qkv0"][1] == 3 * wide
    assert small["y"][0] == wide


@pytest.mark.parametrize("softmax", [False, True], ids=["linear", "softmax"])
@pytest.mark.parametrize("form", ["separate", "split"])
def test_dead_features_of_values(target: Target, form: str, softmax: bool) -> None:
    """One feature of every head is not read: heads stay equally wide."""
    model = attention(form, square(), square(seed=1), square(seed=2), square(per_head([[0], [3], [2]])), softmax)
    small = sizes(check(model, target, tolerance=1e-5 if softmax else 0))
    if target.tight:
        assert small["y"][0] == 9
        assert small["v0" if form == "separate" else "qkv0"][1] == (9 if form == "separate" else 33)


@pytest.mark.parametrize("form", ["separate", "split"])
def test_dead_features_of_queries_and_keys(target: Target, form: str) -> None:
    """A feature that is zero in queries or in keys adds nothing to any score."""
    model = attention(
        form,
        square(silent=per_head([[0], [1], []])),
        square(silent=per_head([[], [], [3]]), seed=1),
        square(seed=2),
        square(),
        softmax=False,
    )
    small = sizes(check(model, target))
    if target.tight and form == "separate":
        assert [small[name][1] for name in ("q0", "k0", "v0")] == [9, 9, 12]
    elif target.tight:
        assert small["qkv0"][1] == 30


@pytest.mark.parametrize("form", FORMS)
def test_heads_of_unequal_width_stay_equal(target: Target, form: str) -> None:
    """Head 0 could lose two features, head 1 one, head 2 none: none may."""
    model = attention(form, square(), square(seed=1), square(seed=2), square(per_head([[0, 1], [2], []])), False)
    small = sizes(check(model, target))
    assert small["y"][0] <= FEATURES


def test_cross_attention_to_a_second_input(target: Target) -> None:
    """Keys and values come from elsewhere, and from there only a part is read."""
    model = net(
        "(float[N,T,6] x, float[N,S,6] z) => (float[N,T,4] y)",
        """c = MatMul(z, wc)
        q = MatMul(x, wq)
        k = MatMul(c, wk)
        v = MatMul(c, wv)
        kt = Transpose<perm=[0,2,1]>(k)
        s = MatMul(q, kt)
        a = MatMul(s, v)
        y = MatMul(a, wo)""",
        wc=weight(6, 8, into=0, out=1), wq=weight(6, 8, into=0, out=1, silent=(0, 3)),
        wk=weight(8, 8, into=0, out=1, dead=(1, 2)), wv=weight(8, 8, into=0, out=1, dead=(2, 4), silent=(5,)),
        wo=weight(8, 4, into=0, out=1, dead=(7,)),
    )  # fmt: skip
    small = sizes(check(model, target))
    if target.tight:
        assert small["c"][1] == 7
        assert (small["q"][1], small["k"][1], small["v"][1]) == (6, 6, 6)
    if target.selects:
        assert (small["k"][0], small["v"][0]) == (6, 6)


@pytest.mark.parametrize("form", FORMS)
def test_heads_that_keep_as_many_features_after_a_dead_one(form: str) -> None:
    """Head 1 is dead. Heads 0 and 2 have one silent feature, which one of them must keep, as zeros."""
    value = square(silent=per_head([[2], [0, 1, 2, 3], []]), seed=2)
    query = square(silent=per_head([[1], [], []]))
    dead = per_head([[2], [0, 1, 2, 3], []])
    result = upscale_onnx.compile(
        attention(form, query, square(seed=1), value, square(dead), softmax=True), export="keep", align=1, race=False
    )
    report = result.report
    assert [refusal.reason for refusal in report.refusals] == []
    small = sizes(result.model)
    assert small["y"] == (8, FEATURES)
    if form == "separate":
        assert [small[name][1] for name in ("q0", "k0", "v0")] == [8] * 3


@pytest.mark.parametrize("dead", [[[], [0, 1, 2, 3], []], [[0], [3], [2]]], ids=["head", "features"])
def test_heads_on_the_axis_of_a_batch_of_any_size(target: Target, dead: list[list[int]]) -> None:
    """The number of rows is computed from the batch, and the length is left to the Reshape."""
    one = "".join(
        f"""{name}0 = MatMul(x, w{name})
        {name}1 = Reshape({name}0, apart)
        {name}2 = Transpose<perm=[0,2,1,3]>({name}1)
        {name} = Reshape({name}2, rows)
        """
        for name in "qkv"
    )
    model = net(
        f"(float[N,T,{FEATURES}] x) => (float[N,T,{FEATURES}] y)",
        f"""sizes = Shape(x)
        n = Gather(sizes, i0)
        length = Gather(sizes, i1)
        nh = Mul(n, heads)
        rows = Concat<axis=0>(nh, minus, width)
        back = Concat<axis=0>(n, heads, length, width)
        {one}kt = Transpose<perm=[0,2,1]>(k)
        s = MatMul(q, kt)
        p = Softmax<axis=-1>(s)
        a = MatMul(p, v)
        b = Reshape(a, back)
        t = Transpose<perm=[0,2,1,3]>(b)
        f = Reshape(t, flat)
        y = MatMul(f, wo)""",
        i0=ints(0), i1=ints(1), minus=ints(-1), heads=ints(HEADS), width=ints(WIDTH), apart=ints(0, -1, HEADS, WIDTH),
        flat=ints(0, -1, FEATURES), wq=square(), wk=square(seed=1), wv=square(seed=2), wo=square(per_head(dead)),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=1e-5))
    if dead[1] == [3] and not target.tight:
        return
    left = FEATURES - len(per_head(dead))
    assert small["y"][0] == small["v0"][1] == left
    assert small["q0"][1] == small["k0"][1] == (FEATURES if dead[0] else left)
