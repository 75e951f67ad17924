"""A CastLike reads the type of a value, and none of its channels."""

from __future__ import annotations

import numpy as np

import upscale_onnx
from tests.graphs import bias, check, golden, parse, show, weight


def test_the_constants_of_a_function_that_is_written_out_hold_no_channel() -> None:
    """HardSigmoid as ONNX defines it. Channel 1 is zero in front, so 1/2 behind; channel 2 is not read."""
    model = parse(
        """(float[N,4] x) => (float[N,3] y) {
             a = MatMul(x, v)
             h = CastLike(half, a)
             s = Mul(a, h)
             t = Add(s, h)
             one = Constant <value = float {1}> ()
             i = CastLike(one, t)
             m = Min(t, i)
             zero = Constant <value_float = 0.0> ()
             o = CastLike(zero, t)
             b = Max(m, o)
             c = MatMul(b, w)
             y = Add(c, bias)
           }""",
        v=weight(4, 4, columns=[1]),
        w=weight(4, 3, rows=[2]),
        half=np.asarray(0.5, np.float32),
        bias=bias(1, 2, 3),
    )
    small = upscale_onnx.compile(model, race=False, align=1, export="gather").model
    check(model, small)
    assert show(small) == golden(
        """
        a = MatMul(x, v{4x2})
        s = Mul(a, h_constant{})
        t = Add(s, h_constant{})
        m = Min(t, i_constant{})
        b = Max(m, o_constant{})
        c = MatMul(b, w{2x3})
        y = Add(c, bias{3})
        """
    )


def test_a_value_of_which_only_the_type_is_read_may_lose_channels() -> None:
    model = parse(
        """(float[N,4] x, double[N,3] z) => (double[N,3] y, float[N,3] u) {
             a = MatMul(x, v)
             r = Relu(a)
             d = CastLike(x, z)
             f = CastLike(d, r)
             c = MatMul(f, t)
             y = CastLike(c, z)
             u = MatMul(r, w)
           }""",
        v=weight(4, 4),
        w=weight(4, 3, rows=[2, 3]),
        t=weight(4, 3),
    )
    small = upscale_onnx.compile(model, race=False, align=1, export="gather").model
    check(model, small)
    assert show(small) == golden(
        """
        a = MatMul(x, v{4x2})
        r = Relu(a)
        d = CastLike(x, z)
        f = CastLike(d, r)
        c = MatMul(f, t{4x3})
        y = CastLike(c, z)
        u = MatMul(r, w{2x3})
        """
    )
