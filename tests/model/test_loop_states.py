"""Shapes of what a Loop hands on."""

from __future__ import annotations

import onnx
import pytest

from upscale_onnx.model import infer_shapes

LOOP = """<ir_version: 10, opset_import: ["" : 17]>
g (float[n,4] x, int64 k, bool c, float[4,4] w) => (float[a,b] y, float[d] v) {{
  y, v = Loop (k, c, x, w) <
    body = b (int64 i, bool go, float[] h, float[] g) => (bool more, float[] next, float[] last) {{
    more = Identity(go)
    next = {next}
    last = {last}
  }}>
}}"""


def opened(**returned: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(LOOP.format(**returned))
    body = model.graph.node[0].attribute[0].g
    for value in (*body.input[2:], *body.output[1:], *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    return model


def test_a_value_that_keeps_its_shape_has_it_in_every_round() -> None:
    found = infer_shapes(opened(next="MatMul(h, g)", last="Neg(g)"))
    assert [found[name].dims for name in ("h", "g", "next", "y", "v")] == [("n", 4), (4, 4), ("n", 4), ("n", 4), (4, 4)]


@pytest.mark.parametrize("grown", ["Concat <axis = 0> (g, g)", "Flatten <axis = 0> (g)", "Unsqueeze(g, i)"])
def test_nothing_is_known_of_a_value_that_grows_and_of_what_depends_on_it(grown: str) -> None:
    """`next` has the shape of `h` only if `last` keeps that of `g`."""
    found = infer_shapes(opened(next="Gemm(h, g)", last=grown))
    assert not {"g", "last", "v"} & found.keys()
    assert "y" not in found or found["y"].dims != ("n", 4)
