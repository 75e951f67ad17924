"""Attention between channels: a weight for each pair of them, from products over places."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.traps.net import ints, net, weight
from tests.traps.targets import Target, check, sizes

ROUNDING = 1e-5
WIDTH = 16


def attention(heads: int, dead: tuple[int, ...], scored: str = "a = MatMul(q, kt)") -> onnx.ModelProto:
    """Channels `dead` of queries, keys and values are zero, and nothing reads what is made of them."""
    features = WIDTH // heads
    return net(
        "(float[N,24,6,6] x) => (float[N,4,6,6] y)",
        f"""q1 = Conv(x, wq)
        k1 = Conv(x, wk)
        v1 = Conv(x, wv)
        q2 = Reshape(q1, apart)
        k = Reshape(k1, apart)
        v = Reshape(v1, apart)
        l = ReduceL2(q2, last)
        m = Add(l, one)
        q = Div(q2, m)
        kt = Transpose<perm=[0,1,3,2]>(k)
        {scored}
        b = Mul(a, temperature)
        p = Softmax<axis=-1>(b)
        o = MatMul(p, v)
        r = Reshape(o, together)
        y = Conv(r, wp)""",
        apart=ints(0, heads, features, 36), together=ints(0, WIDTH, 6, 6), last=ints(-1), one=np.float32(1),
        temperature=np.full((heads, 1, 1), 0.125, np.float32), wq=weight(WIDTH, 24, 1, 1, silent=dead, seed=1),
        wk=weight(WIDTH, 24, 1, 1, silent=dead, seed=2), wv=weight(WIDTH, 24, 1, 1, silent=dead, seed=3),
        wp=weight(4, WIDTH, 1, 1, dead=dead),
    )  # fmt: skip


@pytest.mark.parametrize("heads", [1, 2])
def test_rows_of_dead_channels_leave(heads: int, target: Target) -> None:
    """Keys stay: a Softmax counts zeros. Of two heads, both lose as many rows, and as many values."""
    small = sizes(check(attention(heads, (0, 1, 5, 9, 10, 15)), target, tolerance=ROUNDING))
    assert small["q1"][0] == small["v1"][0] == (10 if target.tight else WIDTH)
    assert small["k1"][0] == WIDTH
    assert small["y"][1] == small["q1"][0]


def test_a_head_without_results_leaves(target: Target) -> None:
    small = sizes(check(attention(2, tuple(range(8))), target, tolerance=ROUNDING))
    assert [small[name][0] for name in ("q1", "k1", "v1")] == [8, 8, 8]
    assert small["y"][1] == 8


def test_values_of_the_same_places_in_all_heads_leave(target: Target) -> None:
    small = sizes(check(attention(2, (0, 1, 8, 9)), target, tolerance=ROUNDING))
    assert small["v1"][0] == (12 if target.tight else WIDTH)


def test_values_of_a_head_that_stays_leave(target: Target) -> None:
    """One head leaves as a whole, and its neighbour loses values of its own. What fills blocks keeps both heads."""
    model = attention(2, (*range(8), 9, 12))
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert [small[name][0] for name in ("q1", "k1", "v1")] == ([6, 8, 6] if target.tight else [WIDTH] * 3)


@pytest.mark.parametrize(
    ("product", "values"), [("bhij,bhjp->bhip", 12), ("bhij,bhjp->bhpi", 12), ("bhji,bhjp->bhip", WIDTH)]
)
def test_products_as_equations(product: str, values: int, target: Target) -> None:
    """The weights of values lie on the last axis where columns can be taken of them."""
    model = attention(2, (0, 1, 9, 10))
    place = next(node for node in model.graph.node if node.output[0] == "o")
    nodes = [place]
    if product.startswith("bhji"):
        place.input[0] = "turned"
        nodes.insert(0, onnx.helper.make_node("Transpose", ["p"], ["turned"], "turned", perm=[0, 1, 3, 2]))
    if product.endswith("pi"):
        place.output[0] = "places"
        nodes.append(onnx.helper.make_node("Transpose", ["places"], ["o"], "back", perm=[0, 1, 3, 2]))
    place.op_type, place.name = "Einsum", place.output[0]
    place.attribute.append(onnx.helper.make_attribute("equation", product))
    rest = [node for node in model.graph.node if node is not place]
    at = next(number for number, node in enumerate(rest) if node.output[0] == "r")
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in (*rest[:at], *nodes, *rest[at:])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["v1"][0] == (values if target.tight else WIDTH)


def test_heads_that_lose_different_numbers_of_rows_keep_as_many(target: Target) -> None:
    small = sizes(check(attention(2, (0, 1, 2, 9)), target, tolerance=ROUNDING))
    assert small["q1"][0] == (14 if target.tight else WIDTH)


def test_the_other_way_round_all_stay(target: Target) -> None:
    """Columns are channels of queries where the product is transposed."""
    model = attention(2, (0, 1, 8, 9), "qt = Transpose<perm=[0,1,3,2]>(q)\nc = MatMul(k, qt)\na = Identity(c)")
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["q1"][0] == WIDTH


@pytest.mark.parametrize("heads", [1, 2])
def test_the_network_is_shown_equal(heads: int) -> None:
    report = upscale_onnx.compile(attention(heads, (0, 1, 9, 10)), export="keep", align=1, race=False).report
    assert report.refusals == ()
    assert report.verification is not None
    assert report.verification.equal
