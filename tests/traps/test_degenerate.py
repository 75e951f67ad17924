"""Networks of which nothing is left, and weights that are no numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.traps.net import net, vector, weight
from tests.traps.targets import Target, check, operators, sizes
from upscale_onnx.types import Array

NOTHING = slice(None)


def test_a_model_that_is_constant(target: Target) -> None:
    """The last weight is zero: what is left is a bias in the shape that the input asks for."""
    model = net(
        "(float[N,3,H,W] x) => (float y)",
        """h = Conv<pads=[1,1,1,1]>(x, w1)
        r = Relu(h)
        y = Conv(r, w2, b2)""",
        w1=weight(8, 3, 3, 3), w2=weight(4, 8, 1, 1, silent=NOTHING), b2=vector(4),
    )  # fmt: skip
    small = sizes(check(model, target, dims=(3, 5)))
    assert small.get("h", (0,))[0] == (1 if target.tight else 8)


def test_a_model_of_zeros_alone(target: Target) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y, float z)",
        """h = Conv(x, w1)
        a = Conv(h, w2)
        y = Conv(a, w3)
        p = GlobalAveragePool(a)
        f = Flatten(p)
        z = Gemm(f, w4, b4)""",
        w1=weight(8, 3, 3, 3, silent=NOTHING), w2=weight(8, 8, 1, 1, silent=NOTHING),
        w3=weight(4, 8, 1, 1, silent=NOTHING),
        w4=weight(8, 5, silent=NOTHING), b4=vector(5),
    )  # fmt: skip
    check(model, target)


def test_a_dead_layer_in_the_middle_of_a_chain(target: Target) -> None:
    """Nothing of the input reaches the end: the chain behind the dead layer still makes constants with borders."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """a = Conv(x, w1)
        b = Conv<pads=[1,1,1,1]>(a, w2, b2)
        c = Conv<pads=[1,1,1,1]>(b, w3)
        r = Relu(c)
        y = Conv(r, w4)""",
        w1=weight(8, 3, 3, 3), w2=weight(8, 8, 3, 3, dead=NOTHING), b2=vector(8), w3=weight(8, 8, 3, 3),
        w4=weight(4, 8, 1, 1),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=1e-6))
    assert small.get("a", (1,))[0] <= (1 if target.tight else 8)


@pytest.mark.parametrize("quotient", ["Div(one, h)", "Pow(h, minus)"])
def test_a_channel_that_is_divided_by_zero_is_no_number(quotient: str, target: Target) -> None:
    """What reads it with a weight of zero is no number either."""
    exponent = {"minus": np.full((1, 1, 4), -1, np.float32)} if "Pow" in quotient else {}
    model = net(
        "(float[N,3,4,4] x, float[N,8,4,4] one) => (float[N,4,4,4] y)" if "Div" in quotient
        else "(float[N,3,4,4] x) => (float[N,4,4,4] y)",
        f"""h = Conv(x, w1)
        d = {quotient}
        y = Conv(d, w2)""",
        w1=weight(8, 3, 1, 1, silent=(2, 5)), w2=weight(4, 8, 1, 1, dead=(2, 5)), **exponent,
    )  # fmt: skip
    check(model, target)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["dead column", "silent row", "bias", "scale"])
def test_no_number_is_lost(target: Target, value: float, where: str) -> None:
    """Zero times infinity is no number, and neither may hide behind a zeroed channel."""
    w1, w2 = weight(8, 3, 3, 3, silent=(2, 5)), weight(4, 8, 1, 1, dead=(1, 5))
    b, s = np.zeros(8, np.float32), np.ones(8, np.float32)
    chosen: Array = {"dead column": w2, "silent row": w1, "bias": b, "scale": s}[where]
    index = {"dead column": (0, 5), "silent row": (2, 0, 1, 1), "bias": (1,), "scale": (5,)}[where]
    chosen[index] = value
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        m = Mul(h, s)
        a = Add(m, b)
        y = Conv(a, w2)""",
        w1=w1, w2=w2, s=s.reshape(8, 1, 1), b=b.reshape(8, 1, 1),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] <= 8


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_number_in_a_layer_that_nobody_reads(target: Target, value: float) -> None:
    """A channel full of NaN meets a zero weight: the sum is NaN, the channel has to stay."""
    w1 = weight(8, 3, 3, 3)
    w1[4] = value
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        y = Conv(h, w2)""",
        w1=w1, w2=weight(4, 8, 1, 1, dead=(4, 6)),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (7 if target.tight else 8)


def test_overflow_is_not_hidden(target: Target) -> None:
    """A constant that overflows in Exp is infinite, and infinity times zero is no number."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1, b1)
        e = Exp(h)
        m = Mul(e, zero)
        y = Conv(m, w2)""",
        w1=weight(8, 3, 1, 1, silent=NOTHING), b1=vector(8, c2=100, c5=100),
        zero=vector(8, c2=0, c3=0).reshape(8, 1, 1),
        w2=weight(4, 8, 1, 1, dead=(5,)),
    )  # fmt: skip
    check(model, target, tolerance=1e-6)


def test_one_channel_is_left(target: Target) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        r = Relu(h)
        y = Conv<pads=[1,1,1,1]>(r, w2)""",
        w1=weight(8, 3, 3, 3), w2=weight(4, 8, 3, 3, dead=(0, 1, 2, 3, 4, 6, 7)),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (1 if target.tight else 8)


def test_nothing_to_remove(target: Target) -> None:
    """A model without a dead channel comes out with the same operators and weights."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        r = Relu(h)
        y = Conv<pads=[1,1,1,1]>(r, w2)""",
        w1=weight(8, 3, 3, 3), w2=weight(4, 8, 3, 3),
    )  # fmt: skip
    compiled = check(model, target)
    assert operators(compiled) == operators(model)
    before, after = ({t.name: t.raw_data for t in m.graph.initializer} for m in (model, compiled))
    assert before == after
