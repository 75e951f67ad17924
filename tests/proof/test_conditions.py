"""Both branches of an If are proven, whatever the inputs of the model decide."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from upscale_onnx.proof.by_claims import prove
from upscale_onnx.results import Claim

BRANCHES = """<ir_version: 10, opset_import: ["" : 17]>
g (float[2,4] x, {kind} rate) => (float[2,4] y)
<float[4] p = {{1, 2, 3, 4}}, float[4] q = {{5, 6, 7, 8}}> {{
  a = Abs(x)
  {decide}
  y = If (c) <then_branch = t () => (float[2,4] r) {{ r = Mul(a, p) }},
              else_branch = e () => (float[2,4] s) {{ s = Mul(a, q) }}>
}}"""
COMPUTED = {"kind": "int64", "decide": "wide = Constant <value_int = 16000> () c = Equal(rate, wide)"}


@pytest.mark.parametrize("broken", ["p", "q", ""])
@pytest.mark.parametrize("rate", [8000, 16000, None])
def test_a_difference_in_either_branch_is_found(broken: str, rate: int | None) -> None:
    text = BRANCHES.format(**COMPUTED if rate else {"kind": "bool", "decide": "c = Identity(rate)"})
    model = onnx.parser.parse_model(text)
    other = onnx.parser.parse_model(text)
    for tensor in other.graph.initializer:
        if tensor.name == broken:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, broken))
    claims = {name: Claim((1,) * rank) for name, rank in (("a", 2), ("c", 0), ("y", 2))}
    feed = {"x": np.ones((2, 4), np.float32), "rate": np.asarray(True if rate is None else rate)}
    found = prove(model, other, claims, feed)
    assert [item.value for item in found.refuted] == (["y"] if broken else [])
    assert found.regions - found.proven == (1 if broken else 0)
