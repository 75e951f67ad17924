"""A zeroed channel is not a channel of zeros: what lies behind it may make it any constant."""

from __future__ import annotations

import numpy as np
import pytest

from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, operators, sizes

ROUNDING = 1e-6
ONE = np.ones(8, np.float32)
# Behind BatchNormalization and Relu, of the silent channels 1 and 7 are positive, 4 and 6 are zero.
# Positive ones that padding surrounds become one channel, with the sum of their weights.
SILENT = (1, 4, 6, 7)
BETA = vector(8, c1=3, c4=-2, c6=0, c7=1)


@pytest.mark.parametrize(("pads", "kept"), [("[1,1,1,1]", 5), ("[0,0,0,0]", 4), ("[0,0,1,0]", 5)])
def test_beta_behind_a_zeroed_channel_read_through_padding(target: Target, pads: str, kept: int) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        f"""h = Conv<pads=[1,1,1,1]>(x, w1)
        n = BatchNormalization<epsilon=0.0>(h, s, b, m, v)
        r = Relu(n)
        y = Conv<pads={pads}>(r, w2)""",
        w1=weight(8, 3, 3, 3, silent=SILENT), w2=weight(4, 8, 3, 3), s=vector(8), b=BETA, m=0 * ONE, v=ONE,
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["h"] == ((kept, 3, 3, 3) if target.tight else (8, 3, 3, 3))
    assert small["y"][1] == small["h"][0]


@pytest.mark.parametrize(("pads", "kept"), [("[1,1,1,1]", 5), ("[0,0,0,0]", 4)])
def test_bias_behind_a_zeroed_channel_read_through_padding(target: Target, pads: str, kept: int) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        f"""h = Conv(x, w1, b1)
        r = Relu(h)
        y = Conv<pads={pads}>(r, w2, b2)""",
        w1=weight(8, 3, 3, 3, silent=SILENT), b1=BETA, w2=weight(4, 8, 3, 3), b2=vector(4),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["h"][0] == (kept if target.tight else 8)


def test_running_mean_and_scale_make_a_constant_too(target: Target) -> None:
    """s·(0 - m)/2 + b is zero for channel 2, six for channel 5."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        n = BatchNormalization<epsilon=0.0>(h, s, b, m, v)
        y = Conv<pads=[1,1,1,1]>(n, w2)""",
        w1=weight(8, 3, 3, 3, silent=(2, 5)), w2=weight(4, 8, 3, 3), s=2 * ONE,
        b=vector(8, c2=2, c5=4), m=vector(8, c2=2, c5=-2), v=4 * ONE,
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (7 if target.tight else 8)


def test_a_constant_read_through_max_pooling_and_padding_of_its_own(target: Target) -> None:
    """MaxPool ignores its padding, AveragePool divides by the window: 2 stays 2, or becomes a border of less."""
    model = net(
        "(float[N,3,8,8] x) => (float y, float z)",
        """h = Conv(x, w1, b1)
        p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(h)
        y = Conv(p, w2)
        q = AveragePool<kernel_shape=[2,2], pads=[1,1,1,1], strides=[2,2], count_include_pad=1>(h)
        z = Conv(q, w3)""",
        w1=weight(8, 3, 3, 3, silent=(0, 3, 5)), b1=vector(8, c0=2, c3=0, c5=-4),
        w2=weight(4, 8, 1, 1), w3=4 * weight(4, 8, 1, 1, seed=1),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (7 if target.tight else 8)
    assert small["y"][1] == (5 if target.selects else small["h"][0])


@pytest.mark.parametrize(("kernel", "kept"), [(1, 5), (3, 6)])
@pytest.mark.parametrize("gate", ["Sigmoid", "HardSigmoid<alpha=0.25, beta=0.5>"])
def test_sigmoid_of_zero_is_a_half(target: Target, gate: str, kernel: int, kept: int) -> None:
    pads = "[1,1,1,1]" if kernel > 1 else "[0,0,0,0]"
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        f"""h = Conv(x, w1)
        g = {gate}(h)
        y = Conv<pads={pads}>(g, w2)""",
        w1=weight(8, 3, 3, 3, silent=(0, 3, 5)), w2=4 * weight(4, 8, kernel, kernel),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=1e-6 if gate == "Sigmoid" else 0))
    assert small["h"][0] == (kept if target.tight else 8)


def test_a_gate_that_is_exactly_zero_kills_both_sides(target: Target) -> None:
    """Channel 2 of the gate is zero as written, channel 5 because HardSigmoid(-9) is."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        k = Conv(x, w2, b2)
        g = HardSigmoid<alpha=0.25, beta=0.5>(k)
        r = Relu(k)
        m = Mul(h, g)
        a = Mul(m, mask)
        y = Conv<pads=[1,1,1,1]>(a, w3)""",
        w1=weight(8, 3, 3, 3), w2=weight(8, 3, 3, 3, silent=(5,), seed=1), b2=vector(8, c5=-9),
        mask=vector(8, c2=0).reshape(8, 1, 1), w3=4 * weight(4, 8, 3, 3),
    )  # fmt: skip
    small = sizes(check(model, target))
    wide = 6 if target.tight else 8
    assert (small["h"][0], small["k"][0], small["y"][1]) == (wide, wide, wide)


@pytest.mark.parametrize("dead", [(1, 6), ()])
def test_squeeze_and_excitation(target: Target, dead: tuple[int, ...]) -> None:
    """The squeezed vector is read whole by the bottleneck; the gate of a channel that nobody reads goes with it."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        p = GlobalMaxPool(h)
        d = Conv(p, w2, b2)
        r = Relu(d)
        e = Conv(r, w3, b3)
        g = HardSigmoid<alpha=0.25, beta=0.5>(e)
        m = Mul(h, g)
        y = Conv<pads=[1,1,1,1]>(m, w4)""",
        w1=weight(8, 3, 3, 3, silent=(4,)), w2=weight(6, 8, 1, 1, silent=(2,), dead=dead), b2=vector(6, c2=-1),
        w3=weight(8, 6, 1, 1, dead=(4,)), b3=vector(8), w4=4 * weight(4, 8, 3, 3, dead=(1, 6)),
    )  # fmt: skip
    small = sizes(check(model, target))
    if not target.tight:
        return
    assert small["h"][0] == (5 if dead else 7)
    assert small["d"] == (4, small["h"][0], 1, 1)
    # The gate of a channel that is there for the bottleneck alone is there too, unless a selection parts them.
    assert small["e"][0] <= small["h"][0]
    assert small["y"][1] == 5 or not target.selects


def test_a_convolution_of_nothing_is_its_bias(target: Target) -> None:
    """The middle layer reads only channels that are zero."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """a = Conv(x, w1)
        h = Conv<pads=[1,1,1,1]>(a, w2, b2)
        r = Relu(h)
        s = Conv(x, w4)
        t = Add(r, s)
        y = Conv(t, w3)""",
        w1=weight(8, 3, 3, 3), w2=weight(8, 8, 3, 3, dead=slice(None)), b2=vector(8), w3=weight(4, 8, 1, 1),
        w4=weight(8, 3, 3, 3, seed=1),
    )  # fmt: skip
    small = check(model, target)
    assert "a" not in sizes(small)
    assert "h" not in sizes(small)
    assert "Relu" not in operators(small)


@pytest.mark.parametrize("form", ["reduced", "normalised"])
def test_a_weight_standardised_in_the_graph(target: Target, form: str) -> None:
    """The weight is a constant all the same: what nobody reads of its result goes, and nothing computes it."""
    compute = {
        "reduced": """mean = ReduceMean<axes=[1,2,3], keepdims=1>(raw)
        w1 = Sub(raw, mean)""",
        "normalised": """flat = Reshape(raw, rows)
        normal = BatchNormalization<epsilon=1.0>(flat, gain, shift, shift, gain)
        w1 = Reshape(normal, back)""",
    }[form]
    constants = {} if form == "reduced" else {
        "rows": ints(1, 16, 12), "back": ints(16, 3, 2, 2), "gain": np.ones(16, np.float32),
        "shift": np.zeros(16, np.float32),
    }  # fmt: skip
    model = net(
        "(float[N,3,4,4] x) => (float[N,5,3,3] y)",
        f"""{compute}
        h = Conv(x, w1)
        y = Conv(h, w2)""",
        opset=17, raw=weight(16, 3, 2, 2), w2=weight(5, 16, 1, 1, dead=(0, 2, 4, 6, 8, 9, 10, 11)), **constants,
    )  # fmt: skip
    small = check(model, target, tolerance=1e-5)
    assert sizes(small)["h"][0] == 8
    assert operators(small) == ["Conv", "Conv"]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_constant_feature_moves_into_the_bias_behind_a_matmul(target: Target, swapped: bool) -> None:
    """Pruned on the output side, a feature holds its bias; the sigmoid of it is not zero."""
    add = "y = Add(b2, z)" if swapped else "y = Add(z, b2)"
    model = net(
        "(float[N,T,5] x) => (float[N,T,7] y)",
        f"""g = MatMul(x, w1)
        h = Add(g, b1)
        s = HardSigmoid(h)
        z = MatMul(s, w2)
        {add}""",
        w1=weight(5, 16, into=0, out=1, silent=(0, 3, 4, 6, 9, 10, 13, 15)), b1=vector(16), b2=vector(7),
        w2=weight(16, 7, into=0, out=1),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=1e-5))
    assert small["g"] == (5, 8)
    assert small["z"] == (8, 7)


def test_a_constant_feature_of_a_matmul_that_others_read_too(target: Target) -> None:
    """Without a bias of its own the result keeps what it is made of."""
    model = net(
        "(float[N,T,5] x) => (float[N,T,7] y, float[N,T,7] v)",
        """g = MatMul(x, w1)
        h = Add(g, b1)
        z = MatMul(h, w2)
        y = Add(z, b2)
        v = Relu(z)""",
        w1=weight(5, 16, into=0, out=1, silent=(0, 3)), b1=vector(16), b2=vector(7), w2=weight(16, 7, into=0, out=1),
    )  # fmt: skip
    check(model, target)


def test_a_position_that_a_convolution_makes(target: Target) -> None:
    """What a Conv makes of constants is one more constant, added like any other."""
    model = net(
        "(float[N,3,4,4] x) => (float[N,5,4,4] y)",
        """p = Conv(places, wp)
        h = Conv(x, w1)
        a = Add(h, p)
        y = Conv(a, w2)""",
        places=weight(1, 2, 4, 4), wp=weight(16, 2, 1, 1), w1=weight(16, 3, 1, 1),
        w2=weight(5, 16, 1, 1, dead=(0, 2, 4, 6, 8, 9, 10, 11)),
    )  # fmt: skip
    small = check(model, target)
    assert sizes(small)["h"][0] == 8
    assert operators(small) == ["Conv", "Add", "Conv"]


@pytest.mark.parametrize(("one", "other", "kept"), [("h", "zero", 6), ("h", "h", 4), ("zero", "h", 6)])
def test_a_choice_between_equal_constants_is_one(one: str, other: str, kept: int, target: Target) -> None:
    """The silent channels 1, 4, 6 and 7 of `h` are 0, 0, 2 and 3."""
    model = net(
        "(float[N,3,6,6] x, bool[N,1,6,6] chosen) => (float y)",
        f"""h = Conv(x, w1, b1)
        c = Where(chosen, {one}, {other})
        y = Conv(c, w2, b2)""",
        w1=weight(8, 3, 1, 1, silent=SILENT), b1=vector(8, c1=0, c4=0, c6=2, c7=3), zero=np.float32(0),
        w2=weight(4, 8, 1, 1), b2=vector(4),
    )  # fmt: skip
    assert sizes(check(model, target, tolerance=ROUNDING))["h"][0] == (kept if target.tight else 8)


@pytest.mark.parametrize(("operands", "value"), [("mask, h, value", 0), ("other, value, h", 0), ("mask, h, value", 2)])
def test_channels_that_a_constant_condition_never_chooses(operands: str, value: float, target: Target) -> None:
    """Of the channels 1, 4, 6 and 7, only the constant is left: a zero, or another that moves into the bias."""
    mask = np.isin(np.arange(8), SILENT, invert=True).reshape(8, 1, 1)
    model = net(
        "(float[N,3,6,6] x) => (float y)", f"h = Conv(x, w1, b1)\nc = Where({operands})\ny = Conv(c, w2, b2)",
        w1=weight(8, 3, 1, 1), b1=vector(8), mask=mask, other=~mask, value=np.float32(value), w2=weight(4, 8, 3, 3),
        b2=vector(4),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["h"][0] == (4 if target.tight else 8)
    assert small["y"][1] == (4 if target.tight else 8)
