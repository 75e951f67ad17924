"""Convolutions beside the plain one: groups, depthwise, transposed, one and three dimensions."""

from __future__ import annotations

import numpy as np
import pytest

from tests.traps.net import net, vector, weight
from tests.traps.targets import Target, check, sizes


@pytest.mark.parametrize("dead", [(0, 5), (0, 1), (0, 1, 2, 3), (0, 1, 2, 3, 4)])
def test_grouped_convolution_shrinks_evenly(target: Target, dead: tuple[int, ...]) -> None:
    """Two groups of four: as many of one as of the other may go, or a whole group. Otherwise each gets a Conv."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        g = Conv<group=2, pads=[1,1,1,1]>(h, w2, b2)
        y = Conv(g, w3)""",
        w1=weight(8, 3, 3, 3), w2=weight(8, 4, 3, 3), b2=vector(8), w3=weight(4, 8, 1, 1, dead=dead),
    )  # fmt: skip
    small = sizes(check(model, target))
    if target.tight and dead == (0, 1):
        assert sorted(shape for name, shape in small.items() if name.startswith("g")) == [(2, 4, 3, 3), (4, 4, 3, 3)]
        assert small["y"][1] == 6
    elif target.tight:
        kept = {(0, 5): 6, (0, 1, 2, 3): 4, (0, 1, 2, 3, 4): 3}[dead]
        assert small["g"][0] in (kept, 8 if kept != 6 else 6)
        assert small["y"][1] == (8 - len(dead) if target.selects else small["g"][0])


def test_grouped_convolution_with_dead_columns(target: Target) -> None:
    """The first of every group's inputs is not read."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        g = Conv<group=2, pads=[1,1,1,1]>(h, w2)
        y = Conv(g, w3)""",
        w1=weight(8, 3, 3, 3), w2=weight(6, 4, 3, 3, dead=(0,)), w3=weight(4, 6, 1, 1),
    )  # fmt: skip
    small = sizes(check(model, target))
    if target.tight:
        assert (small["h"][0], small["g"]) == (6, (6, 3, 3, 3))


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_convolution_carries_channels(target: Target, multiplier: int) -> None:
    """Its bias makes a constant of a silent channel; a channel lives if any of its copies is read."""
    wide = 8 * multiplier
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        d = Conv<group=8, pads=[1,1,1,1]>(h, w2, b2)
        r = Relu(d)
        y = Conv<pads=[1,1,1,1]>(r, w3)""",
        w1=weight(8, 3, 3, 3, silent=(1, 2)), w2=weight(wide, 1, 3, 3, into=0),
        b2=vector(wide, **{f"c{multiplier + i}": -1 for i in range(multiplier)}),
        w3=weight(4, wide, 3, 3, dead=range(5 * multiplier, 6 * multiplier)),
    )  # fmt: skip
    small = sizes(check(model, target))
    kept = 6 if target.tight else 8
    assert small["h"][0] == kept
    assert small["d"] == (kept * multiplier, 1, 3, 3)


def test_depthwise_rows_of_zeros(target: Target) -> None:
    """A depthwise channel of zeros is its bias: nothing, or a constant behind which padding shows."""
    w2 = weight(8, 1, 3, 3, into=0)
    w2[[1, 4]] = 0
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        d = Conv<group=8, pads=[1,1,1,1]>(h, w2, b2)
        y = Conv<pads=[1,1,1,1]>(d, w3)""",
        w1=weight(8, 3, 3, 3), w2=w2, b2=vector(8, c1=0, c4=2), w3=weight(4, 8, 3, 3),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (7 if target.tight else 8)


@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolution(target: Target, group: int) -> None:
    """Its weight lies the other way around: (C_in, C_out/group, kH, kW)."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        f"""h = Conv(x, w1, b1)
        t = ConvTranspose<strides=[2,2], kernel_shape=[2,2], group={group}>(h, w2, b2)
        r = Relu(t)
        y = Conv<pads=[1,1,1,1]>(r, w3)""",
        w1=weight(8, 3, 3, 3, silent=(1, 6)), b1=vector(8, c1=0, c6=0),
        w2=weight(8, 6 // group, 2, 2, into=0, out=1, dead=(2, 5), silent=(0,) if group == 2 else (0, 3)),
        b2=vector(6, c0=-1, c3=0), w3=weight(4, 6, 3, 3, dead=(1, 4)),
    )  # fmt: skip
    small = sizes(check(model, target))
    if target.tight:
        assert small["h"][0] == 4
        assert small["t"][:2] == (4, 2 // group)


@pytest.mark.parametrize("dims", [1, 3])
def test_one_and_three_dimensions(target: Target, dims: int) -> None:
    space = ",".join("6" * dims)
    pads = ",".join("1" * 2 * dims)
    kernel = (3,) * dims
    model = net(
        f"(float[N,3,{space}] x) => (float y)",
        f"""h = Conv(x, w1, b1)
        r = Relu(h)
        p = MaxPool<kernel_shape=[{",".join("2" * dims)}]>(r)
        y = Conv<pads=[{pads}]>(p, w2)""",
        w1=weight(8, 3, *kernel, silent=(1, 6)), b1=vector(8, c1=-1, c6=1), w2=weight(4, 8, *kernel, dead=(0,)),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (6 if target.tight else 8)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding_is_padding(target: Target, auto_pad: str) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        f"""h = Conv(x, w1, b1)
        y = Conv<auto_pad="{auto_pad}", strides=[2,2]>(h, w2)""",
        w1=weight(8, 3, 3, 3, silent=(1, 6)), b1=vector(8), w2=weight(4, 8, 3, 3),
    )  # fmt: skip
    small = sizes(check(model, target, tolerance=1e-6))
    # Of the two constant channels, one is enough where zeros are around it.
    kept = 6 if auto_pad == "VALID" else 7
    assert small["h"][0] == (kept if target.tight else 8)


def test_an_explicit_pad_by_the_constant_itself(target: Target) -> None:
    """Channel 1 is padded by its own value and folds; channel 6 is not and has a border."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1, b1)
        p = Pad(h, pads, two)
        y = Conv(p, w2)""",
        w1=weight(8, 3, 3, 3, silent=(1, 6)), b1=vector(8, c1=2, c6=3), w2=weight(4, 8, 3, 3),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]), two=np.float32(2),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (7 if target.tight else 8)
