"""Every name stands for one value, and the model computes the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from tests.channels.engine import Engine
from upscale_onnx.model.protos import inner_graphs
from upscale_onnx.model.unique_names import with_unique_names

SAME = """<ir_version: 10, opset_import: ["" : 17]>
g (float[4] x, bool c) => (float[4] y) <float[4] k = {1, 2, 3, 4}> {
  u = Neg(x)
  u_1 = Abs(x)
  y = If (c) <
    then_branch = p () => (float[4] r) <float[4] w = {5, 6, 7, 8}> {
      t = Add(u, w)
      r = If (c) <
        then_branch = p1 () => (float[4] s) { v = Mul(t, k) s = Add(v, u_1) },
        else_branch = p2 () => (float[4] s) { s = Neg(t) }
      >
    },
    else_branch = q () => (float[4] r) <float[4] w = {9, 8, 7, 6}> {
      t = Mul(u, w)
      v = Add(t, k)
      r = Neg(v)
    }
  >
}"""


def given(model: onnx.ModelProto) -> Counter[str]:
    counts: Counter[str] = Counter()
    for graph in (model.graph, *inner_graphs(model.graph)):
        counts.update(value.name for value in (*graph.input, *graph.initializer))
        counts.update(name for node in graph.node for name in node.output)
    return counts


def test_branches_that_use_the_same_names_get_names_of_their_own() -> None:
    model = onnx.parser.parse_model(SAME)
    before = model.SerializeToString()
    unique = with_unique_names(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(unique, full_check=True)
    assert max(given(model).values()) > 1
    assert set(given(unique).values()) == {1}
    rng = np.random.default_rng(0)
    for choice in (True, False):
        feeds = {"x": rng.standard_normal(4).astype(np.float32), "c": np.asarray(choice)}
        np.testing.assert_array_equal(Engine(unique).run(feeds)[0], Engine(model).run(feeds)[0])


@pytest.mark.parametrize(
    "text",
    [
        SAME.split("  y = If")[0] + "  y = Neg(u)\n}",
        SAME.replace("then_branch = p2 () => (float[4] r)", "").replace("t = Mul(u, w)", "t = Mul(v, w)"),
    ],
)
def test_other_models_are_left_as_they_are(text: str) -> None:
    """One has no bodies. One reads a name before the body gives it: nobody knows which value is meant."""
    model = onnx.parser.parse_model(text)
    assert with_unique_names(model) is model
