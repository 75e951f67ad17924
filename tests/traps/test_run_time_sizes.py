"""Sizes that are computed at run time, beside channels: they concern other axes, or state the channel count again."""

from __future__ import annotations

import numpy as np
import pytest

from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, sizes

_SHAPED = """d = Shape(x)
        hw = Slice(d, two, four)
        twice = Mul(hw, twos)
        """
# Of each, `h` has eight channels, of which the last convolution reads five of `r`.
FORMS = {
    "Resize of axes": _SHAPED + "r = Resize<axes=[2,3]>(h, , , twice)",
    "Resize like its input": _SHAPED
    + """c = Shape(h)
        nc = Slice(c, zero, two)
        all = Concat<axis=0>(nc, twice)
        r = Resize(h, , , all)""",
    "Resize by stated channels": _SHAPED
    + """n = Slice(d, zero, one)
        all = Concat<axis=0>(n, eight, twice)
        r = Resize<mode="linear">(h, , , all)""",
    "Resize like a skip": """s = MaxPool<kernel_shape=[2,2], strides=[2,2]>(h)
        c = Shape(h)
        hw = Slice(c, two, four)
        r = Resize<axes=[2,3]>(s, , , hw)""",
    "Resize by a product of floats": _SHAPED
    + """real = Cast<to=1>(hw)
        wide = Mul(real, scale)
        whole = Floor(wide)
        more = Cast<to=7>(whole)
        c = Shape(h)
        nc = Slice(c, zero, two)
        s = Concat<axis=0>(nc, more)
        r = Resize(h, , , s)""",
    "Pad of axes": _SHAPED
    + """more = Sub(twice, hw)
        p = Concat<axis=0>(more, zeros)
        r = Pad(h, p, , axes)""",
    "Pad of all axes": _SHAPED
    + """p = Concat<axis=0>(zeros, hw, zeros, zeros)
        r = Pad(h, p)""",
    "Tile": _SHAPED
    + """t = Concat<axis=0>(one, one, hw)
        r = Tile(h, t)""",
    "Expand": _SHAPED
    + """g = GlobalAveragePool(h)
        e = Concat<axis=0>(one, eight, hw)
        r = Expand(g, e)""",
    "Reshape": _SHAPED
    + """tall = Concat<axis=2>(h, h)
        u = Concat<axis=3>(tall, tall)
        hw3 = Mul(hw, twos)
        half = Div(hw3, twos)
        top = Slice(half, zero, one)
        left = Slice(half, one, two)
        n = Slice(d, zero, one)
        v = Concat<axis=0>(n, eight, top, two, left, two)
        w = Reshape(u, v)
        r = ReduceMax<keepdims=0>(w, inner)""",
}


@pytest.mark.parametrize("form", FORMS)
def test_channels_pass_sizes_of_a_run(form: str, target: Target) -> None:
    model = net(
        "(float[N,3,H,W] x) => (float[N,5,A,B] y)",
        f"h = Conv<pads=[1,1,1,1]>(x, w1, b1)\n        {FORMS[form]}\n        y = Conv(r, w2)",
        opset=18, w1=weight(8, 3, 3, 3, silent=(1,)), b1=vector(8, c1=0), w2=weight(5, 8, 1, 1, dead=(0, 2)),
        zero=ints(0), one=ints(1), two=ints(2), four=ints(4), eight=ints(8), twos=ints(2, 2), zeros=ints(0, 0),
        axes=ints(2, 3), inner=ints(3, 5), scale=np.float32([2.5]),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert (small["h"][0], small["y"][1]) == ((5, 5) if target.tight else (8, 8))
