"""Adds and Concats: producers that drop different channels, streams, consumers that want different ones."""

from __future__ import annotations

import numpy as np
import pytest

from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, operators, sizes


def test_branches_that_drop_different_channels(target: Target) -> None:
    """Of the sum only channel 1 is silent, only channel 5 is not read."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """a = Conv(x, w1)
        b = Conv(x, w2)
        s = Add(a, b)
        r = Relu(s)
        y = Conv<pads=[1,1,1,1]>(r, w3)""",
        w1=weight(8, 3, 3, 3, silent=(0, 1)), w2=weight(8, 3, 3, 3, silent=(1, 2), seed=1),
        w3=weight(4, 8, 3, 3, dead=(5,)),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert {small["a"][0], small["b"][0], small["y"][1]} == {6 if target.tight else 8}


def test_a_constant_of_one_branch_joins_what_varies_in_the_other(target: Target) -> None:
    """Channel 3 is 5 in one branch and -5 in the other: zero in the sum; channel 6 is 5 and varies."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """a = Conv(x, w1, b1)
        b = Conv(x, w2, b2)
        s = Add(a, b)
        y = Conv<pads=[1,1,1,1]>(s, w3)""",
        w1=weight(8, 3, 3, 3, silent=(3, 6)), b1=vector(8, c3=5, c6=5),
        w2=weight(8, 3, 3, 3, silent=(3,), seed=1), b2=vector(8, c3=-5), w3=weight(4, 8, 3, 3),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["a"][0] == (7 if target.tight else 8)


def test_a_residual_stream(target: Target) -> None:
    """What no block and not the head reads leaves the stream; each block reads its own share of the rest."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """s0 = Conv(x, w0, b0)
        h1 = Conv<pads=[1,1,1,1]>(s0, w1)
        r1 = Relu(h1)
        d1 = Conv(r1, v1)
        s1 = Add(s0, d1)
        h2 = Conv<pads=[1,1,1,1]>(s1, w2)
        r2 = Relu(h2)
        d2 = Conv(r2, v2)
        s2 = Add(d2, s1)
        y = Conv(s2, w3)""",
        w0=weight(12, 3, 3, 3), b0=vector(12), w1=weight(6, 12, 3, 3, dead=(1, 4, 6, 7)),
        v1=weight(12, 6, 1, 1, dead=(2,)),
        w2=weight(6, 12, 3, 3, dead=(1, 4, 5, 8), seed=1), v2=weight(12, 6, 1, 1, dead=(0, 5), seed=1),
        w3=weight(4, 12, 1, 1, dead=(1, 4, 9, 11)),
    )  # fmt: skip
    small = sizes(check(model, target))
    if target.tight:
        assert [small[name][0] for name in ("s0", "d1", "d2")] == [10, 10, 10]
        assert (small["h1"][0], small["h2"][0]) == (5, 4)
    if target.selects:
        assert [small[name][1] for name in ("h1", "h2", "y")] == [8, 8, 8]


def test_three_consumers_without_a_common_contiguous_order(target: Target) -> None:
    """Of any order of three blocks, the pair of outer blocks is torn; four channels nobody reads."""
    one, two, three = {0, 5, 7, 12}, {1, 2, 9, 13}, {3, 8, 10, 15}
    whole = set(range(16))
    model = net(
        "(float[N,3,6,6] x) => (float a, float b, float c)",
        """h = Conv(x, w0)
        r = Relu(h)
        a = Conv<pads=[1,1,1,1]>(r, w1)
        b = Conv<pads=[1,1,1,1]>(r, w2)
        c = Conv<pads=[1,1,1,1]>(r, w3)""",
        w0=weight(16, 3, 3, 3), w1=weight(4, 16, 3, 3, dead=whole - one - two),
        w2=weight(4, 16, 3, 3, dead=whole - two - three), w3=weight(4, 16, 3, 3, dead=whole - three - one),
    )  # fmt: skip
    compiled = check(model, target)
    small, kinds = sizes(compiled), operators(compiled)
    assert small["h"][0] == (12 if target.tight else 16)
    if target.selects:
        assert [small[name][1] for name in "abc"] == [8, 8, 8]
    if target.export == "upscale":
        assert (kinds.count("Slice") + kinds.count("Split"), kinds.count("Gather")) == (2, 1)
    if target.export == "gather":
        assert kinds.count("Gather") == 3


def test_consumers_that_want_the_same_share_one_selection(target: Target) -> None:
    unread = (0, 3, 7)
    model = net(
        "(float[N,3,6,6] x) => (float a, float b, float c)",
        """h = Conv(x, w0)
        a = Conv(h, w1)
        b = Conv(h, w2)
        c = Conv(h, w3)""",
        w0=weight(8, 3, 3, 3), w1=weight(4, 8, 1, 1, dead=unread), w2=weight(5, 8, 1, 1, dead=unread),
        w3=weight(6, 8, 1, 1),
    )  # fmt: skip
    compiled = check(model, target)
    if target.selects:
        assert sorted(operators(compiled)) in (["Conv"] * 4 + ["Gather"], ["Conv"] * 4 + ["Slice"])


def test_a_concat_of_a_concat(target: Target) -> None:
    """Two nested joins, one part of which nobody reads and one of which is all constant."""
    model = net(
        "(float[N,3,6,6] x) => (float y, float z)",
        """a = Conv(x, w1)
        b = Conv(x, w2)
        c = Conv(x, w3)
        d = Conv(x, w4, b4)
        i = Concat<axis=1>(a, b)
        r = Relu(i)
        o = Concat<axis=1>(c, r, d)
        y = Conv(o, w5)
        z = Conv<pads=[1,1,1,1]>(i, w6)""",
        w1=weight(8, 3, 3, 3, silent=(2,)), w2=weight(6, 3, 3, 3), w3=weight(5, 3, 3, 3, seed=1),
        w4=weight(4, 3, 3, 3, silent=slice(None)), b4=vector(4),
        w5=weight(7, 23, 1, 1, dead=(0, 1, 2, 3, 4, 5, 6, 14)), w6=weight(7, 14, 3, 3, dead=(0, 4, 8, 9)),
    )  # fmt: skip
    # Of the outer 23: c is 0-4, a is 5-12, b is 13-18, d is 19-22.
    small = sizes(check(model, target))
    assert not {"c", "d"} & set(small)
    if target.tight:
        assert (small["a"][0], small["b"][0]) == (6, 5)
    if target.selects:
        assert (small["y"][1], small["z"][1]) == (10, 9)


def test_a_dense_block(target: Target) -> None:
    """Each layer reads all before it, each its own share."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """a = Conv(x, w1)
        b = Conv<pads=[1,1,1,1]>(a, w2)
        ab = Concat<axis=1>(a, b)
        c = Conv<pads=[1,1,1,1]>(ab, w3)
        abc = Concat<axis=1>(a, b, c)
        d = Conv<pads=[1,1,1,1]>(abc, w4)
        abcd = Concat<axis=1>(a, b, c, d)
        y = Conv(abcd, w5)""",
        w1=weight(8, 3, 3, 3), w2=weight(4, 8, 3, 3, dead=(0, 5)), w3=weight(4, 12, 3, 3, dead=(0, 1, 6, 8)),
        w4=weight(4, 16, 3, 3, dead=(0, 2, 7, 8, 9, 12, 13)), w5=weight(4, 20, 1, 1, dead=(0, 3, 4, 8, 13, 14, 15, 16)),
    )  # fmt: skip
    small = sizes(check(model, target))
    if target.tight:
        assert [small[name][0] for name in "abcd"] == [7, 3, 3, 3]
    if target.selects:
        assert [small[name][1] for name in "bcdy"] == [6, 8, 9, 12]


@pytest.mark.parametrize("form", ["Split", "Slice"])
def test_chunks(target: Target, form: str) -> None:
    """A chunk in two, of which one half gates the other; a channel lives if either half is read."""
    cut = {
        "Split": "p, q = Split<axis=1, num_outputs=2>(h)",
        "Slice": "p = Slice(h, zero, six, one)\nq = Slice(h, six, far, one)",
    }[form]
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        f"""h = Conv(x, w1, b1)
        {cut}
        g = HardSigmoid<alpha=0.25, beta=0.5>(q)
        m = Mul(p, g)
        y = Conv<pads=[1,1,1,1]>(m, w2)""",
        w1=weight(12, 3, 3, 3, silent=(8,)), b1=vector(12, c8=-9), w2=4 * weight(4, 6, 3, 3, dead=(0, 5)),
        zero=ints(0), six=ints(6), far=ints(1 << 40), one=ints(1),
    )  # fmt: skip
    small = sizes(check(model, target))
    # 0 and 5 are not read, 2 is gated by zero: three of six are left, and their gates.
    assert small["h"][0] == 6 or not target.tight
    assert small["y"][1] == (3 if target.tight else small["y"][1])


def test_zero_padded_shortcut_channels(target: Target) -> None:
    """Option A: the shortcut is subsampled and padded by channels of zeros on both sides."""
    model = net(
        "(float[N,3,8,8] x) => (float y)",
        """h = Conv<pads=[1,1,1,1]>(x, w1)
        r = Relu(h)
        d = Conv<pads=[1,1,1,1], strides=[2,2]>(r, w2, b2)
        k = Slice(r, starts, ends, axes, steps)
        p = Pad(k, pads)
        s = Add(d, p)
        t = Relu(s)
        y = Conv(t, w3)""",
        w1=weight(8, 3, 3, 3), w2=weight(16, 8, 3, 3, dead=(1, 6), silent=(2, 9)), b2=vector(16, c2=0, c9=0),
        w3=weight(4, 16, 1, 1, dead=(0, 5, 8, 15)), starts=ints(0, 0), ends=ints(1 << 40, 1 << 40), axes=ints(2, 3),
        steps=ints(2, 2), pads=ints(0, 4, 0, 0, 0, 4, 0, 0),
    )  # fmt: skip
    # The shortcut's channels are 4-11 of the sum. Its 1 lands on 5 and dies with it; its 4 lands on 8, which nobody
    # reads, but `d` reads 4. Of the sum 2 is zero.
    small = sizes(check(model, target))
    if target.tight:
        assert small["h"][0] == 7
        assert small["d"][0] <= 12
    assert small["y"][1] == (11 if target.selects else small["d"][0])


def test_a_branch_pruned_away_whole(target: Target) -> None:
    """A branch of zeros leaves no trace at an Add, one of constants a constant, at a Concat a smaller consumer."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """a = Conv(x, w1)
        p = Conv(x, w2)
        q = Conv<pads=[1,1,1,1]>(p, w3)
        s = Add(a, q)
        u = Conv(x, w4, b4)
        t = Add(u, s)
        c = Concat<axis=1>(t, q)
        y = Conv(c, w5)""",
        w1=weight(8, 3, 3, 3), w2=weight(8, 3, 3, 3, seed=1), w3=weight(8, 8, 3, 3, silent=slice(None)),
        w4=weight(8, 3, 3, 3, silent=slice(None)), b4=vector(8), w5=weight(4, 16, 1, 1),
    )  # fmt: skip
    compiled = check(model, target)
    assert set(sizes(compiled)) == {"a", "y"}
    assert sizes(compiled)["y"][1] == 8
    assert operators(compiled) == ["Conv", "Add", "Conv"]


def test_a_gated_branch_pruned_away_whole(target: Target) -> None:
    """Zero times anything: the whole product goes, and all that led to it."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """a = Conv(x, w1)
        p = Conv(x, w2)
        g = Conv(x, w3)
        m = Mul(p, g)
        s = Add(a, m)
        y = Conv(s, w4)""",
        w1=weight(8, 3, 3, 3), w2=weight(8, 3, 3, 3, seed=1), w3=weight(8, 3, 3, 3, silent=slice(None)),
        w4=weight(4, 8, 1, 1),
    )  # fmt: skip
    assert operators(check(model, target)) == ["Conv", "Conv"]


def test_consumers_that_read_nothing_in_common(target: Target) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float a, float b)",
        """h = Conv(x, w0)
        a = Conv(h, w1)
        b = Conv(h, w2)""",
        w0=weight(8, 3, 3, 3), w1=weight(4, 8, 1, 1, dead=(1, 3, 5, 7)), w2=weight(4, 8, 1, 1, dead=(0, 2, 4, 6)),
    )  # fmt: skip
    compiled = check(model, target)
    if target.selects:
        assert [sizes(compiled)[name][1] for name in "ab"] == [4, 4]
    if target.export == "upscale":
        assert "Gather" not in operators(compiled)


def test_broadcasts_over_channels(target: Target) -> None:
    """One channel times all, and all times a spatial map computed from all: an attention map."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        k = Conv(h, w2)
        g = HardSigmoid<alpha=0.25, beta=0.5>(k)
        m = Mul(g, h)
        c = Mul(m, two)
        y = Conv(c, w3)""",
        w1=weight(8, 3, 3, 3, silent=(2,)), w2=weight(1, 8, 1, 1, dead=(5,)), w3=4 * weight(4, 8, 1, 1, dead=(5, 6)),
        two=np.float32([2]),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (6 if target.tight else 8)
    if target.selects:
        assert (small["k"][1], small["y"][1]) == (6, 5)


def test_equal_splits_are_one(target: Target) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        a, b = Split<axis=1>(h, three)
        c, d = Split<axis=1>(h, three)
        e = Mul(a, d)
        f = Add(b, c)
        g = Add(e, f)
        y = Conv(g, w2)""",
        w1=weight(6, 3, 3, 3), w2=weight(4, 3, 1, 1, dead=(1,)), three=ints(3, 3),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (4 if target.tight else 6)


@pytest.mark.parametrize("halves", [2, 3])
def test_parts_that_are_multiplied_with_each_other_stay_blocks(target: Target, halves: int) -> None:
    """Channels of the parts go together. In the order of their classes they would interleave."""
    names = [f"p{part}" for part in range(halves)]
    products = "\n".join(
        f"m{part} = Mul({'p0' if part == 1 else f'm{part - 1}'}, p{part})" for part in range(1, halves)
    )
    model = net(
        "(float[N,T,5] x) => (float[N,T,4] y)",
        f"""h = MatMul(x, w1)
        {", ".join(names)} = Split<axis=-1, num_outputs={halves}>(h)
        {products}
        y = MatMul(m{halves - 1}, w2)""",
        w1=weight(5, 8 * halves, into=0, out=1), w2=weight(8, 4, into=0, out=1, dead=(0, 3, 4)),
    )  # fmt: skip
    small = check(model, target)
    assert operators(small).count("Split") == 1
    assert operators(small).count("Gather") + operators(small).count("Slice") == 0
    assert sizes(small)["h"][1] == (5 if target.tight else 8) * halves


def test_a_part_without_elements_is_joined_to_heads(target: Target) -> None:
    """Of four features, all are rotated, and none are left beside them."""
    model = net(
        "(float[N,5,6] x) => (float[N,5,4] y)",
        """q = MatMul(x, w1)
        h = Reshape(q, apart)
        r = Neg(h)
        b = Slice(h, behind, behind, last)
        c = Concat<axis=-1>(r, b)
        f = Reshape(c, together)
        y = MatMul(f, w2)""",
        w1=weight(6, 12, into=0, out=1, silent=(4, 5, 6, 7)), w2=weight(12, 4, into=0, out=1, dead=(4, 5, 6, 7)),
        apart=ints(0, 5, 3, 4), together=ints(0, 5, 12), behind=ints(4), last=ints(-1),
    )  # fmt: skip
    check(model, target)


def test_rows_of_their_own_are_joined_to_channels(target: Target) -> None:
    """Each of the rows a and b counts for itself then, so c keeps its order, although only some of it is read as r."""
    model = net(
        "(float[5,6] x, float[1,8] a, float[1,8] b) => (float[5,4] y, float[7,4] z)",
        """c = MatMul(x, w1)
        r = Relu(c)
        y = MatMul(r, w2)
        ab = Concat<axis=0>(a, b)
        abc = Concat<axis=0>(ab, c)
        s = Relu(abc)
        z = MatMul(s, w3)""",
        w1=weight(6, 8), w2=weight(8, 4, into=0, out=1, dead=(0, 3, 4)), w3=weight(8, 4, seed=1),
    )  # fmt: skip
    check(model, target)
