"""Weights that the graph computes from constants."""

from __future__ import annotations

import numpy as np
import pytest

from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, sizes

FORMS = {
    "Dropout": "w = Dropout(v)",
    "CastLike": "w = CastLike(d, b)",
    "Einsum": """e = Einsum<equation="oikl,o->oikl">(v, ones)
        w = Identity(e)""",
    "Shrink": "w = Shrink<lambd=0.25>(v)",
    "Erf": "w = Erf(v)",
    "LpNormalization": "w = LpNormalization<axis=1>(v)",
    "Pad": """middle = Slice(v, one, two, two)
        p = Pad(middle, pads)
        w = Neg(p)""",
    "EyeLike": """e = EyeLike(square)
        k = Reshape(e, places)
        w = Mul(v, k)""",
    "Compress": """all = Concat<axis=1>(v, v)
        w = Compress<axis=1>(all, half)""",
    "Softplus": """p = Softplus(v)
        o = Softplus(zero)
        w = Sub(p, o)""",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_weight_computed_from_constants_is_one(form: str, target: Target) -> None:
    values = weight(4, 8, 3, 3, dead=(1, 2, 5))
    model = net(
        "(float[N,3,6,6] x) => (float[N,4,6,6] y)",
        f"""h = Conv(x, w1, b)
        {FORMS[form]}
        y = Conv<pads=[1,1,1,1]>(h, w)""",
        opset=21, w1=weight(8, 3, 1, 1), b=vector(8), v=values, d=values.astype(np.float64), ones=vector(4),
        one=ints(1), two=ints(2), pads=ints(0, 0, 1, 0, 0, 0, 1, 0), half=np.arange(16) < 8,
        zero=np.zeros(1, np.float32), square=np.zeros((3, 3), np.float32), places=ints(1, 1, 3, 3),
    )  # fmt: skip
    assert sizes(check(model, target, tolerance=1e-5))["h"][0] == (5 if target.tight else 8)
