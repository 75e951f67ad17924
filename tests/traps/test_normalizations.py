"""Normalizations over channels: they read all of them, the pruned ones too, and make constants vary."""

from __future__ import annotations

import numpy as np
import pytest

from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, sizes

ROUNDING = 1e-5


def test_layer_normalization_reads_pruned_channels(target: Target) -> None:
    """Two channels of the stream are zero, yet count in mean and variance; the hidden layer shrinks."""
    model = net(
        "(float[N,5,3] x) => (float y)",
        """h = MatMul(x, w1)
        n = LayerNormalization<axis=-1>(h, s, b)
        k = MatMul(n, w2)
        a = Add(k, b2)
        r = Relu(a)
        d = MatMul(r, w3)
        t = Add(d, h)
        y = MatMul(t, w4)""",
        w1=weight(3, 8, into=0, out=1, silent=(1, 6)), s=vector(8), b=vector(8),
        w2=weight(8, 12, into=0, out=1, dead=(2, 6), silent=(0, 5)), b2=vector(12, c0=-1, c5=0),
        w3=weight(12, 8, into=0, out=1, dead=(3, 7), silent=(1, 6)), w4=weight(8, 4, into=0, out=1),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    # The silent channels of the sum are zero. Normalised, they are not; nothing reads the channel 6 of them.
    assert small["h"] == (3, 7 if target.tight else 8)
    if target.tight:
        assert small["k"][1] == 8
        assert small["d"] == (8, 7) or target.selects
    if target.selects:
        assert (small["k"][0], small["y"][0]) == (6, 6)


@pytest.mark.parametrize("norm", ["LayerNormalization", "RMSNormalization"])
def test_a_channel_scaled_by_zero_is_what_the_bias_is(norm: str, target: Target) -> None:
    """Of eight channels the normalization scales three by zero. It reads them, but nothing reads its results there."""
    bias = ", b" if norm == "LayerNormalization" else ""
    model = net(
        "(float[N,5,3] x) => (float[N,5,4] y)",
        f"""h = MatMul(x, w1)
        n = {norm}<axis=-1>(h, s{bias})
        k = MatMul(n, w2)
        y = Add(k, b2)""",
        opset=23, w1=weight(3, 8, into=0, out=1), s=vector(8, c0=0, c3=0, c4=0), b=vector(8),
        w2=weight(8, 4, into=0, out=1), b2=vector(4),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["h"] == (3, 8)
    if target.selects:
        assert small["k"] == (5, 4)


def test_dead_channels_of_images_leave_a_normalization_of_separate_nodes(target: Target) -> None:
    """Channels lie on axis 1. Three of eight are zero, and what nothing reads of them leaves."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        m = ReduceMean<axes=[1]>(h)
        d = Sub(h, m)
        p = Mul(d, d)
        v = ReduceMean<axes=[1]>(p)
        e = Add(v, epsilon)
        q = Sqrt(e)
        n = Div(d, q)
        k = Mul(s, n)
        y = Conv<pads=[1,1,1,1]>(k, w2)""",
        opset=13, w1=weight(8, 3, 3, 3, silent=(1, 4, 5)), w2=weight(4, 8, 3, 3, dead=(1, 4, 5)),
        s=vector(8).reshape(8, 1, 1), epsilon=np.float32(1e-3),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert (small["h"][0], small["y"][1]) == ((5, 5) if target.tight else (8, 8))


@pytest.mark.parametrize("moment", ["ReduceMean<axes=[1]>", "ReduceMean<axes=[1,2,3]>", "ReduceMax<axes=[1]>"])
def test_a_moment_of_what_differs_from_a_computed_number(moment: str, target: Target) -> None:
    """Channels of zeros all differ from it alike. A maximum needs one of them, so that all stay."""
    model = net(
        "(float[N,3,6,6] x, float[N,1,1,1] c) => (float y)",
        f"""h = Conv(x, w1)
        d = Sub(h, c)
        a = Abs(d)
        m = {moment}(a)
        k = Mul(a, m)
        y = Conv(k, w2)""",
        opset=13, w1=weight(8, 3, 3, 3, silent=(1, 4, 5)), w2=weight(4, 8, 3, 3, dead=(1, 4, 5)),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["h"][0] == (5 if target.tight and "Mean" in moment else 8)


@pytest.mark.parametrize("extreme", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_an_extreme_over_channels_needs_no_channels_of_zeros(extreme: str, keepdims: int, target: Target) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y, float z)",
        f"""h = Conv(x, w1)
        z = {extreme}<axes=[1],keepdims={keepdims}>(h)
        y = Conv(h, w2)""",
        opset=13, w1=weight(8, 3, 3, 3, silent=(1, 4, 5)), w2=weight(4, 8, 3, 3, dead=(0,)),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (5 if target.tight else 8)


@pytest.mark.parametrize(
    ("body", "kept"),
    [("n = LpNormalization<axis=1>(h)", 5), ("a = Abs(h)\nn = ReduceLogSum(a, one)", 5), ("n = ReduceMean(h, one)", 5)],
    ids=["length", "logarithm of a sum", "mean"],
)
def test_zeros_add_nothing_to_a_sum_over_channels(body: str, kept: int, target: Target) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)", f"h = Conv(x, w1)\n{body}\ny = Conv(n, w2)",
        w1=weight(8, 3, 3, 3, silent=(1, 4, 5)), one=ints(1), w2=weight(4, 8 if "Lp" in body else 1, 3, 3),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["h"][0] == (kept if target.tight else 8)


def test_layer_normalization_over_places_leaves_channels_alone(target: Target) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        n = LayerNormalization<axis=2>(h, s)
        y = Conv<pads=[1,1,1,1]>(n, w2)""",
        w1=weight(8, 3, 3, 3), s=np.arange(16, dtype=np.float32).reshape(4, 4), w2=weight(4, 8, 3, 3, dead=(1, 4)),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["h"][0] == (6 if target.tight else 8)


GROUPED = {
    "GroupNormalization": "n = GroupNormalization<num_groups=4>(h, s, b)",
    "InstanceNormalization": """a = Reshape(h, apart)
        i = InstanceNormalization(a, ones, zeros)
        t = Reshape(i, together)
        m = Mul(t, s4)
        n = Add(m, b4)""",
}


@pytest.mark.parametrize("form", GROUPED)
def test_group_normalization_over_pruned_channels(target: Target, form: str) -> None:
    """A group of which one channel is read needs all of them, the silent ones too; a group that nobody reads goes."""
    constants = {"s": vector(8), "b": vector(8)}
    if form == "InstanceNormalization":
        constants = {
            "apart": ints(0, 4, -1), "together": ints(0, 8, 4, 4), "ones": np.ones(4, np.float32),
            "zeros": np.zeros(4, np.float32), "s4": vector(8).reshape(8, 1, 1), "b4": vector(8).reshape(8, 1, 1),
        }  # fmt: skip
    model = net(
        "(float[N,3,6,6] x) => (float[N,4,4,4] y)",
        f"""h = Conv(x, w1)
        {GROUPED[form]}
        r = Relu(n)
        y = Conv<pads=[1,1,1,1]>(r, w2)""",
        w1=weight(8, 3, 3, 3, silent=(1,)), w2=weight(4, 8, 3, 3, dead=(0, 4, 5)), **constants,
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["h"][0] in ((6, 8) if target.tight else (8,))
    assert small["y"][1] == 5 or not target.selects


def test_instance_normalization_keeps_to_its_channel(target: Target) -> None:
    """A constant that is not zero is normalised to rounding noise, which nothing else has: it stays, nobody's goes."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1, b1)
        n = InstanceNormalization(h, s, b)
        r = Relu(n)
        y = Conv<pads=[1,1,1,1]>(r, w2)""",
        w1=weight(8, 3, 3, 3, silent=(2, 5)), b1=vector(8), s=vector(8), b=vector(8, c2=-1, c5=1),
        w2=weight(4, 8, 3, 3, dead=(0,)),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["h"][0] == (7 if target.tight else 8)


def test_softmax_over_channels_counts_the_silent_ones(target: Target) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        p = Softmax<axis=1>(h)
        y = Conv(p, w2)""",
        w1=weight(8, 3, 3, 3, silent=(2, 5)), w2=weight(4, 8, 1, 1, dead=(0, 5)),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["h"][0] == 8
    assert small["y"][1] == (6 if target.selects else 8)


def test_a_mean_over_channels_counts_the_silent_ones(target: Target) -> None:
    """Zeros may be taken out of a sum, and of a mean, if a factor makes up for them."""
    model = net(
        "(float[N,3,6,6] x) => (float y, float z)",
        """h = Conv(x, w1)
        y = ReduceMean(h, one)
        k = Conv(x, w2)
        z = ReduceSum(k, one)""",
        w1=weight(8, 3, 3, 3, silent=(2, 5)), w2=weight(8, 3, 3, 3, silent=(2, 5), seed=1), one=ints(1),
    )  # fmt: skip
    small = check(model, target, tolerance=ROUNDING)
    assert (sizes(small)["h"][0], sizes(small)["k"][0]) == ((6, 6) if target.tight else (8, 8))


SILENT_GROUPS = {
    "GroupNormalization": "n = GroupNormalization<num_groups=4>(h, s, b)",
    "InstanceNormalization": """g = Reshape(h, apart)
        i = InstanceNormalization(g, ones, levels)
        n = Reshape(i, together)""",
}


@pytest.mark.parametrize("form", SILENT_GROUPS)
def test_a_group_of_zeros_becomes_what_the_bias_is(form: str, target: Target) -> None:
    """Channels 2 and 3 are the second of four groups. The last layer reads them, and takes them over into its bias."""
    model = net(
        "(float[N,3,6,6] x) => (float[N,4,6,6] y)",
        f"""h = Conv(x, w1)
        {SILENT_GROUPS[form]}
        y = Conv(n, w2, b2)""",
        w1=weight(8, 3, 1, 1, silent=(2, 3)), s=vector(8), b=vector(8), ones=np.ones(4, np.float32), levels=vector(4),
        apart=ints(0, 4, -1), together=ints(-1, 8, 6, 6), w2=weight(4, 8, 1, 1), b2=vector(4),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=ROUNDING))
    assert small["h"][0] == (6 if target.tight else 8)
