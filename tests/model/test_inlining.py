"""Functions are written out on load; what they compute is not changed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.channels.engine import Engine
from upscale_onnx.model import inlining, load_model

CALLS = """<ir_version: 10, opset_import: ["" : 17, "local" : 1]>
g (float[2,4] x, bool c) => (float[2,4] y) <float[4] t = {1, 2, 3, 4}> {
  a = local.outer <k = 2.0> (x, t)
  y = If (c) <
    then_branch = p () => (float[2,4] r) { r = local.inner <k = 3.0> (a, t) },
    else_branch = q () => (float[2,4] r) { r = Neg (a) }
  >
}
<domain: "local", opset_import: ["" : 17]>
inner <k> (a, b) => (c) {
  t = Add(a, b)
  f = Constant <value_float : float = @k> ()
  c = Mul(t, f)
}
<domain: "local", opset_import: ["" : 17, "local" : 1]>
outer <k> (a, b) => (c) {
  t = local.inner <k : float = @k> (a, b)
  c = Relu(t)
}"""


def parsed(text: str = CALLS) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def test_nested_functions_are_written_out_also_in_bodies() -> None:
    model = parsed()
    loaded = load_model(model)
    assert not loaded.functions
    assert [node.op_type for node in loaded.graph.node] == ["Add", "Constant", "Mul", "Relu", "If"]
    assert len(model.functions) == 2, "the given model is left as it is"
    assert list(loaded.graph.initializer) == list(model.graph.initializer)
    rng = np.random.default_rng(0)
    for choice in (True, False):
        feeds = {"x": rng.standard_normal((2, 4)).astype(np.float32), "c": np.asarray(choice)}
        np.testing.assert_array_equal(Engine(loaded).run(feeds)[0], Engine(model).run(feeds)[0])


def test_defaults_of_functions_reach_the_operators_in_them() -> None:
    """The outer call gives none, the inner passes its own on, and another in a body relies on the inner one's."""
    model = parsed("""<ir_version: 10, opset_import: ["" : 17, "local" : 1]>
g (float[2] x, bool c) => (float[2] y) {
  a = local.outer (x)
  b = local.outer <k = 0.5> (a)
  y = If (c) <
    then_branch = p () => (float[2] r) { r = local.inner (b) },
    else_branch = q () => (float[2] r) { r = Identity (b) }
  >
}
<domain: "local", opset_import: ["" : 17]>
inner <alpha : float = 2.0> (a) => (c) { c = LeakyRelu <alpha : float = @alpha> (a) }
<domain: "local", opset_import: ["" : 17, "local" : 1]>
outer <k : float = 0.25> (a) => (c) { c = local.inner <alpha : float = @k> (a) }""")
    feeds = {"x": np.asarray([-8.0, 8.0], np.float32), "c": np.asarray(True)}
    loaded = load_model(model)
    assert not loaded.functions
    np.testing.assert_array_equal(Engine(loaded).run(feeds)[0], np.asarray([-2, 8], np.float32))


def test_a_function_that_a_runtime_has_a_kernel_for_stays() -> None:
    model = parsed(CALLS.replace('"local"', '"com.microsoft"').replace("local.", "com.microsoft."))
    assert load_model(model).functions == model.functions


def test_functions_that_would_take_too_many_bytes_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inlining, "_MOST_BYTES", 100)
    assert load_model(parsed()).functions
