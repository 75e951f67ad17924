"""Bodies of If, Loop and Scan in PyTorch: the values are those of onnxruntime, and weights in bodies are fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from tests.graphs import parse, run
from tests.pruning.test_bodies import IF, LOOP, NESTED, OF_IF, OF_LOOP, OF_SCAN, SCAN, made
from tests.repair.test_bodies import FLAT, distance, normal, weights
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.options import Options
from upscale_onnx.pruning.class_scores import taylor_scores
from upscale_onnx.pruning.evidence import Evidence
from upscale_onnx.repair.joint import fitted_jointly

torch = pytest.importorskip("torch")

TURNED = SCAN.replace(
    "num_scan_inputs = 1,",
    "num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1], scan_output_axes = [1],"
    " scan_output_directions = [1],",
).replace("[s,n,8]", "[n,s,8]").replace("[s,n,10]", "[n,s,10]")  # fmt: skip
STACKED = (
    LOOP.replace("t = Loop", "t, each = Loop")
    .replace("float[n,8] next)", "float[n,8] next, float[n,8] seen)")
    .replace("next = Tanh(e)", "next = Tanh(e) seen = Relu(e)")
    .replace("y = MatMul(t, v)", "y = MatMul(each, v)")
    .replace("(float[n,10] y)", "(float[r,n,10] y)")
)
X = normal(64, 8)
CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "then": (IF, OF_IF, {"x": X, "c": np.asarray(True)}),
    "else": (IF, OF_IF, {"x": X, "c": np.asarray(False)}),
    "loop": (LOOP, OF_LOOP, {"x": X, "rounds": np.asarray(3)}),
    "no round": (LOOP, OF_LOOP, {"x": X, "rounds": np.asarray(0)}),
    "stacked": (
        STACKED,
        OF_LOOP,
        {"x": X, "rounds": np.asarray(3)},
    ),
    "scan": (SCAN, OF_SCAN, {"x": normal(5, 6, 8), "x0": normal(6, 8)}),
    "scan along another axis": (TURNED, OF_SCAN, {"x": normal(6, 5, 8), "x0": normal(6, 8)}),
    "if within a loop": (NESTED, OF_IF, {"x": X, "rounds": np.asarray(2), "c": np.asarray(True)}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_onnxruntime(name: str) -> None:
    from upscale_onnx.torch_backend.network import TorchNetwork
    from upscale_onnx.torch_backend.values import array

    text, sizes, inputs = CASES[name]
    model = made(text, sizes)
    wanted = run(model, inputs)[0]
    found = TorchNetwork(model).run(inputs)["y"]
    np.testing.assert_allclose(array(found), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "weight"), [("then", "in_yes_down"), ("loop", "in_round_down")])
def test_weights_of_bodies_are_fitted_together_with_others(name: str, weight: str) -> None:
    """Weights that were made smaller grow again; a branch that is not run keeps its own."""
    text, sizes, inputs = CASES[name]
    model, changed = made(text, sizes), made(text, sizes)
    tensor = constant_tensors(changed)[weight]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.7), weight))
    data = {key: normal(128, 8, seed=3) if array.ndim else array for key, array in inputs.items()}
    found = fitted_jointly(model, changed, [data], passes=2)
    assert distance(model, found, inputs) < 0.8 * distance(model, changed, inputs)
    if name == "then":
        assert constant_tensors(found)["in_no_down"] == constant_tensors(model)["in_no_down"]


@pytest.mark.parametrize("side", ["input", "output"])
def test_taylor_scores_layers_of_a_branch_as_those_of_the_main_graph(side: Any) -> None:
    branched = made(IF, OF_IF)
    held = {name: array for name, array in weights(branched).items() if "_no_" not in name}
    flat = parse(FLAT, **held)
    asked = Options.of(criterion="taylor", side=side)
    expected = taylor_scores(Evidence(flat, asked, [{"x": X}]))
    found = taylor_scores(Evidence(branched, asked, [{"x": X, "c": np.asarray(True)}]))
    assert found.keys() == expected.keys()
    assert {"in_yes_down", "in_yes_up"} <= found.keys()
    for name, scores in expected.items():
        np.testing.assert_allclose(found[name], scores, rtol=1e-4, atol=1e-6)


def test_taylor_adds_up_what_rounds_change() -> None:
    """Two rounds by hand, with weights that are used twice, against a Loop; it has a Constant in front."""
    body = "b{0} = MatMul({1}, in_round_up) d{0} = Relu(b{0}) e{0} = MatMul(d{0}, in_round_down) h{0} = Tanh(e{0})"
    looped = made(LOOP, OF_LOOP)
    rounds = f"h = MatMul(x, w) {body.format(1, 'h')} {body.format(2, 'h1')} y = MatMul(h2, v)"
    text = f"(float[n,8] x) => (float[n,10] y) {{ {rounds} }}"
    flat = parse(text, **{name: array for name, array in weights(looped).items() if name in OF_LOOP})
    asked = Options.of(criterion="taylor")
    expected = taylor_scores(Evidence(flat, asked, [{"x": X}]))
    found = taylor_scores(Evidence(looped, asked, [{"x": X, "rounds": np.asarray(2)}]))
    assert found.keys() == expected.keys() == OF_LOOP.keys()
    for name, scores in expected.items():
        np.testing.assert_allclose(found[name], scores, rtol=1e-4, atol=1e-6)
