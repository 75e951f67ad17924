"""Weights that the graph computes from constants."""

from __future__ import annotations

import numpy as np
import pytest

from tests.traps.net import net, vector, weight
from tests.traps.targets import Target, check, sizes

FORMS = {
    "Dropout": "w = Dropout(v)",
    "CastLike": "w = CastLike(d, b)",
    "Einsum": """e = Einsum<equation="oikl,o->oikl">(v, ones)
        w = Identity(e)""",
    "Shrink": "w = Shrink<lambd=0.25>(v)",
    "Erf": "w = Erf(v)",
    "LpNormalization": "w = LpNormalization<axis=1>(v)",
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
    )  # fmt: skip
    assert sizes(check(model, target, tolerance=1e-5))["h"][0] == (5 if target.tight else 8)
