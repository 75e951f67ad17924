"""Norms, and what is divided by them: embeddings, heads and capsules of length one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.traps.net import ints, net, weight
from tests.traps.targets import Target, check, sizes
from upscale_onnx.types import Array

ROUNDING = 1e-5
EPSILON = np.asarray(1e-12, np.float32)
DEAD = (1, 2, 6, 7)

DIVISORS = {
    "clipped": "n = ReduceL2<keepdims=1>(h, axes)  d = Clip(n, eps)",
    "copied": "n = ReduceL2<keepdims=1>(h, axes)  c = Clip(n, eps)  s = Shape(h)  d = Expand(c, s)",
    "largest": "n = ReduceL1<keepdims=1>(h, axes)  d = Max(n, eps)",
    "root": "q = Mul(h, h)  n = ReduceSum<keepdims=1>(q, axes)  e = Add(n, eps)  d = Sqrt(e)",
    "power": "q = Pow(h, two)  n = ReduceMean<keepdims=1>(q, axes)  e = Add(eps, n)  d = Sqrt(e)",
}


def divided(divisor: str, *, eps: Array = EPSILON) -> onnx.ModelProto:
    """A layer of 8 channels, 4 of them zero, that is divided, and whose length is the result. All of them are read."""
    used = {"two": np.asarray(2, np.float32)} if "two" in divisor else {}
    return net(
        "(float[N,6] x) => (float[N,1] y)",
        f"h = MatMul(x, w)  {divisor}  u = Div(h, d)  b = MatMul(u, v)  y = ReduceL2<keepdims=1>(b, axes)",
        w=weight(6, 8, dead=DEAD), v=weight(8, 5), axes=ints(-1), eps=eps, **used,
    )  # fmt: skip


@pytest.mark.parametrize("divisor", DIVISORS.values(), ids=DIVISORS)
def test_zeros_that_are_divided_by_what_is_never_zero_stay_zeros(divisor: str, target: Target) -> None:
    small = sizes(check(divided(divisor), target, tolerance=ROUNDING))
    assert small["h"][1] == small["b"][0] == (4 if target.tight else 8)


@pytest.mark.parametrize("name", ["copied", "root"])
def test_they_are_proven(name: str) -> None:
    report = upscale_onnx.compile(divided(DIVISORS[name]), export="gather", race=False).report
    assert not report.refusals
    assert report.verification is not None
    assert report.verification.equal


@pytest.mark.parametrize(
    "divisor",
    [
        "n = ReduceL2<keepdims=1>(h, axes)  d = Clip(n, none)",
        "e = Add(h, eps)  d = ReduceMax<keepdims=1>(e, axes)",
        "q = Mul(h, x)  n = ReduceSum<keepdims=1>(q, axes)  d = Add(n, eps)",
        "q = Mul(h, h)  n = ReduceSum<keepdims=1>(q, axes)  d = Sub(n, eps)",
        # Products of large integers wrap around.
        "i = Cast<to=6>(h)  q = Mul(i, i)  f = Cast<to=1>(q)  n = ReduceSum<keepdims=1>(f, axes)  d = Add(n, eps)",
    ],
)
def test_what_may_be_zero_is_no_safe_divisor(divisor: str, target: Target) -> None:
    """Zero divided by zero is NaN, which the next layer reads."""
    wide = "Mul(h, x)" in divisor
    model = net(
        f"(float[N,{8 if wide else 6}] x) => (float[N,1] y)",
        f"h = MatMul(x, w)  {divisor}  u = Div(h, d)  b = MatMul(u, v)  y = ReduceL2<keepdims=1>(b, axes)",
        w=weight(8 if wide else 6, 8, dead=DEAD), v=weight(8, 5), axes=ints(-1),
        **({"none": np.asarray(0, np.float32)} if "none" in divisor else {"eps": EPSILON}),
    )  # fmt: skip
    assert sizes(check(model, target, tolerance=ROUNDING))["b"][0] == 8


def of_heads(norm: str, silent: tuple[int, ...], **more: Array) -> onnx.ModelProto:
    """The scores of 3 heads of 8 features, whose queries and keys are normalised; `silent` features are zero."""
    dead = [head * 8 + feature for head in range(3) for feature in silent]
    return net(
        "(float[N,5,6] x) => (float[N,3,5,5] y)",
        f"""a = MatMul(x, wq)  h = Reshape(a, heads)  {norm}  u = Div(h, d)  left = Transpose<perm=[0,2,1,3]>(u)
        b = MatMul(x, wk)  k = Reshape(b, heads)  right = Transpose<perm=[0,2,3,1]>(k)  y = MatMul(left, right)""",
        wq=weight(6, 24, dead=dead), wk=weight(6, 24, seed=1), heads=ints(0, 0, 3, 8), axes=ints(-1), **more,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["copied", "power"])
def test_features_of_heads_of_one_length_leave(name: str, target: Target) -> None:
    """Cosine attention, and queries that are normalised head by head."""
    more = {"two": np.asarray(2, np.float32)} if name == "power" else {}
    model = of_heads(DIVISORS[name], DEAD, eps=EPSILON, **more)
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["a"][1] == small["b"][1] == (12 if target.tight else 24)


def test_heads_lose_as_many_features_each(target: Target) -> None:
    """The second head has a feature less to lose: one more than that stays in the others."""
    model = of_heads(DIVISORS["clipped"], DEAD, eps=EPSILON)
    whole = next(tensor for tensor in model.graph.initializer if tensor.name == "wq")
    array = onnx.numpy_helper.to_array(whole).copy()
    array[:, 8 + DEAD[0]] = 1
    whole.CopyFrom(onnx.numpy_helper.from_array(array, "wq"))
    assert sizes(check(model, target, tolerance=ROUNDING))["a"][1] == (15 if target.tight else 24)


def test_maxima_of_heads_keep_all_features(target: Target) -> None:
    """The maximum of negative numbers and a zero is the zero."""
    model = net(
        "(float[N,5,6] x) => (float[N,5,3] y)",
        "a = MatMul(x, w)  h = Reshape(a, heads)  y = ReduceMax<keepdims=0>(h, axes)",
        w=weight(6, 24, dead=(1, 9, 17)), heads=ints(0, 0, 3, 8), axes=ints(-1),
    )  # fmt: skip
    assert sizes(check(model, target))["a"][1] == 24


def capsules(weights: Array) -> onnx.ModelProto:
    """4 capsules of 8 features at 25 places, squashed, and one matrix for all of them."""
    return net(
        "(float[N,3,5,5] x) => (float[N,100,2] y)",
        """c = Conv(x, wc)  g = Reshape(c, grid)  t = Transpose<perm=[0,1,3,2]>(g)  h = Reshape(t, list)
        q = Mul(h, h)  n = ReduceSum<keepdims=1>(q, axes)  o = Add(n, one)  e = Add(n, eps)  r = Sqrt(e)
        m = Mul(h, n)  k = Div(m, o)  u = Div(k, r)  y = MatMul(u, v)""",
        wc=weights, v=weight(8, 2), grid=ints(0, 4, 8, 25), list=ints(0, 100, 8), axes=ints(-1), eps=EPSILON,
        one=np.asarray(1, np.float32),
    )  # fmt: skip


def test_features_of_squashed_capsules_leave(target: Target) -> None:
    silent = [capsule * 8 + feature for capsule in range(4) for feature in DEAD]
    small = sizes(check(capsules(weight(32, 3, 1, 1, silent=silent)), target, tolerance=ROUNDING))
    assert (small["c"][0], small["y"][0]) == (16, 4)


def test_one_matrix_reads_the_same_features_of_all_capsules(target: Target) -> None:
    """A feature that one capsule has stays in the matrix, and so in all of them."""
    silent = [capsule * 8 + feature for capsule in range(4) for feature in DEAD]
    small = sizes(check(capsules(weight(32, 3, 1, 1, silent=silent[1:])), target, tolerance=ROUNDING))
    assert small["y"][0] == (5 if target.tight else 8)
