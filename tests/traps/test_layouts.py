"""Operators that give channels another axis, another place or another meaning."""

from __future__ import annotations

import numpy as np
import pytest

from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, operators, sizes

FLATTENS = {
    "Flatten": "f = Flatten(r)",
    "Reshape": "f = Reshape(r, to)",
    "computed": """d = Shape(r)
        n = Gather(d, zero)
        u = Unsqueeze(n, first)
        t = Concat<axis=0>(u, rest)
        f = Reshape(r, t)""",
}


@pytest.mark.parametrize("form", FLATTENS)
@pytest.mark.parametrize("transposed", [0, 1])
def test_flatten_into_gemm(target: Target, form: str, transposed: int) -> None:
    """Every channel is sixteen features. Channel 2 is not read in any place, channel 4 only in one."""
    dead = {*range(32, 48), *range(65, 80), 3}
    w = weight(5, 128, dead=sorted(dead))
    used = FLATTENS[form]
    constants = {"to": ints(0, -1)} if form == "Reshape" else {}
    if form == "computed":
        constants = {"zero": ints(0).reshape(()), "first": ints(0), "rest": ints(-1)}
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        f"""h = Conv(x, w1, b1)
        r = Relu(h)
        {used}
        y = Gemm<transB={transposed}>(f, w2, b2)""",
        w1=weight(8, 3, 3, 3, silent=(5,)), b1=vector(8, c5=-1), w2=w if transposed else w.T.copy(), b2=vector(5),
        **constants,
    )  # fmt: skip
    small = sizes(check(model, target))
    wide = 6 if target.tight else 8
    read = 16 * wide
    if target.selects:
        read = 128 - 16 - 16 - 15 - 1
    assert small["h"][0] == wide
    assert small["y"] == ((5, read) if transposed else (read, 5))


@pytest.mark.parametrize("read", [(0,), (1, 2, 3, 31)])
def test_features_of_a_size_that_only_a_weight_tells(target: Target, read: tuple[int, ...]) -> None:
    """The shape is an input: nothing is known of the features but how many the weight reads."""
    model = net(
        "(float[N,3,4,4] x, int64[2] to) => (float y)",
        """h = Conv(x, w1)
        f = Reshape(h, to)
        y = Gemm(f, w2, b2)""",
        w1=weight(8, 3, 3, 3), w2=weight(32, 5, into=0, out=1, dead=sorted({*range(32)} - {*read})), b2=vector(5),
    )  # fmt: skip
    small = sizes(check(model, target, feeds={"to": ints(-1, 32)}))
    assert small["y"][0] == (len(read) if target.selects else 32)


def test_a_constant_flattened_into_gemm_is_folded(target: Target) -> None:
    model = net(
        "(float[N,3,4,4] x) => (float y)",
        """h = Conv(x, w1, b1)
        f = Flatten(h)
        y = Gemm<alpha=2.0, beta=3.0>(f, w2, b2)""",
        w1=weight(8, 3, 3, 3, silent=(1, 5)), b1=vector(8), w2=weight(32, 5, into=0, out=1), b2=vector(5),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["y"][0] == (24 if target.tight else 32)


@pytest.mark.parametrize("groups", [2, 4])
def test_a_channel_shuffle_is_absorbed(target: Target, groups: int) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        a = Reshape(h, apart)
        t = Transpose<perm=[0,2,1,3,4]>(a)
        s = Reshape(t, together)
        r = Relu(s)
        y = Conv<pads=[1,1,1,1]>(r, w2)""",
        w1=weight(12, 3, 3, 3, silent=(7,)), w2=weight(4, 12, 3, 3, dead=(0, 9)),
        apart=ints(0, groups, 12 // groups, 4, 4), together=ints(0, 12, 4, 4),
    )  # fmt: skip
    compiled = check(model, target)
    assert operators(compiled) == ["Conv", "Relu", "Conv"]
    assert sizes(compiled)["h"][0] == (9 if target.tight else 12)


def test_a_shuffle_unit(target: Target) -> None:
    """Split, branch, Concat and shuffle, twice, as in ShuffleNetV2."""
    unit = """{o}p, {o}q = Split<axis=1>({i}, halves)
        {o}a = Conv({o}q, {o}w1, {o}b1)
        {o}r = Relu({o}a)
        {o}d = Conv<pads=[1,1,1,1], group=6>({o}r, {o}w2)
        {o}c = Concat<axis=1>({o}p, {o}d)
        {o}u = Reshape({o}c, apart)
        {o}t = Transpose<perm=[0,2,1,3,4]>({o}u)
        {o}s = Reshape({o}t, together)"""
    weights = {
        "w1": weight(12, 3, 3, 3), "w2": weight(4, 12, 1, 1, dead=(1, 2, 7)), "halves": ints(6, 6),
        "apart": ints(0, 2, 6, 4, 4), "together": ints(0, 12, 4, 4),
    }  # fmt: skip
    for number, unit_name in enumerate("ef"):
        weights[f"{unit_name}w1"] = weight(6, 6, 1, 1, dead=(number,), silent=(number + 2,), seed=number)
        weights[f"{unit_name}b1"] = vector(6, c2=0, c3=0)
        weights[f"{unit_name}w2"] = weight(6, 1, 3, 3, into=0, seed=number)
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        f"h = Conv(x, w1)\n{unit.format(i='h', o='e')}\n{unit.format(i='es', o='f')}\ny = Conv(fs, w2)",
        **weights,
    )
    compiled = check(model, target)
    assert "Transpose" not in operators(compiled)
    if target.tight:
        small = sizes(compiled)
        assert small["h"][0] < 12
        assert small["ea"][0] < 6
        assert small["fa"][0] < 6


PIXELS = {
    "DCR": 's = DepthToSpace<blocksize=2, mode="DCR">(h)',
    "CRD": 's = DepthToSpace<blocksize=2, mode="CRD">(h)',
    "transpose": "a = Reshape(h, apart)\nt = Transpose<perm=[0,1,4,2,5,3]>(a)\ns = Reshape(t, together)",
}


@pytest.mark.parametrize("form", PIXELS)
def test_pixel_shuffle(target: Target, form: str) -> None:
    """Four channels make one: the four of a channel that is not read go, of others none may."""
    constants = {"apart": ints(0, 6, 2, 2, 4, 4), "together": ints(0, 6, 8, 8)} if form == "transpose" else {}
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        f"""h = Conv(x, w1, b1)
        {PIXELS[form]}
        y = Conv<pads=[1,1,1,1]>(s, w2)""",
        w1=weight(24, 3, 3, 3, silent=(9,)), b1=vector(24, c9=0), w2=weight(4, 6, 3, 3, dead=(1, 4)), **constants,
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == 16
    assert small["y"][1] == 4


def test_space_to_depth(target: Target) -> None:
    """A channel of which one pixel in four is read stays; one of which none is goes."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        s = SpaceToDepth<blocksize=2>(h)
        y = Conv(s, w2)""",
        w1=weight(8, 3, 3, 3), w2=weight(4, 32, 1, 1, dead=(1, 9, 17, 25, 0, 3, 6)),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (7 if target.tight else 8)
    if target.selects:
        assert small["y"][1] == 25


def test_channels_last_and_back(target: Target) -> None:
    """Transposes around a MatMul over channels, as in ConvNeXt and TensorFlow exports."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        t = Transpose<perm=[0,2,3,1]>(h)
        m = MatMul(t, w2)
        a = Add(b2, m)
        r = Relu(a)
        k = MatMul(r, w3)
        u = Transpose<perm=[0,3,1,2]>(k)
        s = Add(u, h)
        y = Conv<pads=[1,1,1,1]>(s, w4)""",
        w1=weight(8, 3, 3, 3), w2=weight(8, 12, into=0, out=1, dead=(2, 6), silent=(3, 4, 5)),
        b2=vector(12, c3=0, c4=-2, c5=4), w3=weight(12, 8, into=0, out=1, dead=(0, 1)),
        w4=weight(4, 8, 3, 3, dead=(2, 7)),
    )  # fmt: skip
    small = sizes(check(model, target))
    if target.tight:
        assert small["h"][0] == 7
        # 3 and 4 are zero behind Relu; 5 is 4, which a MatMul without a bias has to read.
        assert small["m"][1] == 8
        assert small["k"] == (8, 7)


def test_a_class_token_in_front_of_patches(target: Target) -> None:
    """Patches are flattened and transposed, a learned token is put in front, an embedding added."""
    model = net(
        "(float[N,3,8,8] x) => (float y)",
        """p = Conv<strides=[4,4], kernel_shape=[4,4]>(x, w1, b1)
        f = Reshape(p, flat)
        t = Transpose<perm=[0,2,1]>(f)
        d = Shape<start=0, end=1>(x)
        e = Concat<axis=0>(d, one)
        k = Expand(token, e)
        c = Concat<axis=1>(k, t)
        a = Add(c, places)
        i = Gather<axis=1>(a, zero)
        y = Gemm(i, w2, b2)""",
        w1=weight(8, 3, 4, 4, silent=(6,)), b1=vector(8, c6=0), flat=ints(0, 0, -1), one=ints(1, 1),
        token=weight(1, 1, 8), places=weight(1, 5, 8), zero=ints(0).reshape(()),
        w2=weight(8, 4, into=0, out=1, dead=(1, 3)), b2=vector(4),
    )  # fmt: skip
    compiled = check(model, target)
    wide = 6 if target.tight else 8
    assert sizes(compiled)["p"][0] == wide
    assert sizes(compiled)["y"][0] == (6 if target.selects else wide)
    assert [1, 1, wide] in [list(tensor.dims) for tensor in compiled.graph.initializer]


def test_upsampling_and_a_skip_connection(target: Target) -> None:
    model = net(
        "(float[N,3,8,8] x) => (float y)",
        """h = Conv<pads=[1,1,1,1]>(x, w1)
        p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(h)
        m = Conv<pads=[1,1,1,1]>(p, w2)
        u = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(m, , scales)
        c = Concat<axis=1>(u, h)
        y = Conv<pads=[1,1,1,1]>(c, w3)""",
        w1=weight(8, 3, 3, 3), w2=weight(8, 8, 3, 3, dead=(0, 4, 5), silent=(1,)),
        w3=weight(4, 16, 3, 3, dead=(0, 8, 9, 14)),
        scales=np.float32([1, 1, 2, 2]),
    )  # fmt: skip
    small = sizes(check(model, target))
    if target.tight:
        assert (small["h"][0], small["m"][0]) == (7, 6)
    if target.selects:
        assert (small["m"][1], small["y"][1]) == (5, 11)


def test_a_conv_over_channels_that_lie_along_the_width(target: Target) -> None:
    """The Conv reads rows of one kind, and not all of them; the width is what a product before it made."""
    model = net(
        "(float[1,6,4,5] x) => (float y, float z)",
        """a = MatMul(x, w1)
        r = Relu(a)
        y = Conv(r, w2)
        z = Conv(r, w3)""",
        w1=weight(5, 7, silent=(2, 5), into=0, out=1),
        w2=weight(3, 6, 1, 1, dead=(1, 3)), w3=weight(3, 6, 1, 1, dead=(0,), seed=1),
    )  # fmt: skip
    check(model, target)
