"""Layers in bodies of If, Loop and Scan are scored by `obs`, and repaired."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import parse, run
from tests.pruning.test_bodies import IF, LOOP, OF_IF, OF_LOOP, OF_SCAN, SCAN, made
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.options import Options
from upscale_onnx.pruning.prune import prune
from upscale_onnx.types import Array

FLAT = """(float[n,8] x) => (float[n,10] y) {
  a = MatMul(x, w)
  b = MatMul(a, in_yes_up)
  d = Relu(b)
  t = MatMul(d, in_yes_down)
  y = MatMul(t, v)
}"""
GROWING = LOOP.replace("next = Tanh(e)", "next = Concat<axis=0>(held, e)").replace("float[n,8] held", "float[m,8] held")


def without_streams(text: str) -> str:
    """The network with functions between layers, whose channels then have no other basis."""
    text = text.replace("a = MatMul(x, w)", "p = MatMul(x, w) a = Relu(p)")
    return text.replace("y = MatMul(t, v)", "q = Tanh(t) y = MatMul(q, v)")


def normal(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def after(model: onnx.ModelProto, asked: Options) -> onnx.ModelProto:
    return prune(model, asked).model


def weights(model: onnx.ModelProto) -> dict[str, Array]:
    return {name: numpy_helper.to_array(tensor) for name, tensor in constant_tensors(model).items()}


def distance(model: onnx.ModelProto, changed: onnx.ModelProto, inputs: dict[str, Any]) -> float:
    wanted, got = run(model, inputs)[0], run(changed, inputs)[0]
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("criterion", ["l1", "obs"])
def test_layers_of_a_branch_are_repaired_as_those_of_the_main_graph(criterion: str, scope: Any) -> None:
    branched = made(without_streams(IF), OF_IF)
    flat = parse(
        without_streams(FLAT), **{name: array for name, array in weights(branched).items() if "_no_" not in name}
    )
    x = normal(256, 8)
    asked = Options.of(amount=0.5, masks="flat", criterion=criterion, scope=scope, calibration={"x": x})
    expected = weights(after(flat, asked.replaced(repair="lsq")))
    plain = weights(after(flat, asked))
    found = weights(after(branched, asked.replaced(repair="lsq", calibration={"x": x, "c": np.asarray(True)})))
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-3, atol=1e-4)
    assert not np.allclose(plain["in_yes_down"], expected["in_yes_down"])


def test_a_branch_that_is_not_run_is_left_alone_and_said() -> None:
    model = made(IF, OF_IF)
    data = {"x": normal(64, 8), "c": np.asarray(False)}
    asked = Options.of(amount=0.5, masks="flat", calibration=data)
    found = prune(model, asked.replaced(repair="lsq"))
    masked, repaired = weights(after(model, asked)), weights(found.model)
    assert {name for name in OF_IF if np.array_equal(masked[name], repaired[name])} == {"in_yes_up", "in_yes_down"}
    assert [note for note in found.notes if "repair does not reach 2 of the 4 weights in bodies" in note]
    by_obs = prune(model, asked.replaced(criterion="obs"))
    assert [note for note in by_obs.notes if "criterion 'obs' has no scores for 1 of the 4 weights in bodies" in note]


@pytest.mark.parametrize(("text", "sizes", "inputs"), [
    (LOOP, OF_LOOP, {"x": normal(256, 8), "rounds": np.asarray(3)}),
    (SCAN, OF_SCAN, {"x": normal(32, 32, 8), "x0": normal(32, 8)}),
], ids=["Loop", "Scan"])  # fmt: skip
def test_outputs_come_nearer_where_rounds_are_repaired(
    text: str, sizes: dict[str, Any], inputs: dict[str, Any]
) -> None:
    model = made(text, sizes)
    inner = [name for name in sizes if name.startswith("in_")]
    asked = Options.of(amounts=tuple((name, 0.5) for name in inner), masks="flat", calibration=inputs)
    test = {name: array if array.ndim < 2 else normal(*array.shape, seed=2) for name, array in inputs.items()}
    plain = distance(model, after(model, asked), test)
    assert distance(model, after(model, asked.replaced(repair="lsq")), test) < 0.95 * plain
    assert distance(model, after(model, asked.replaced(repair="lsq", criterion="obs")), test) < 0.95 * plain


def test_a_layer_of_a_body_is_given_a_bias() -> None:
    """What all rounds read of the main graph counts once for each of them."""
    text = LOOP.replace("b = MatMul(held, in_round_up)", "b = Gemm(h, in_round_up)").replace("Tanh(e)", "Add(held, e)")
    model = made(text, OF_LOOP)
    x = normal(256, 8) + 1
    asked = Options.of(amounts=(("in_round_up", 0.5),), masks="flat", calibration={"x": x, "rounds": np.asarray(2)})
    test = {"x": normal(64, 8, seed=2) + 1, "rounds": np.asarray(2)}
    fitted = after(model, asked.replaced(repair="stats"))
    onnx.checker.check_model(fitted, full_check=True)
    assert len(constant_tensors(fitted)) == len(constant_tensors(model)) + 1
    assert distance(model, fitted, test) < 0.9 * distance(model, after(model, asked), test)


def test_what_grows_from_round_to_round_is_left_alone() -> None:
    model = made(GROWING.replace("float[n,8] next", "float[k,8] next"), OF_LOOP)
    data = {"x": normal(32, 8), "rounds": np.asarray(3)}
    asked = Options.of(amount=0.5, masks="flat", calibration=data)
    found = prune(model, asked.replaced(repair="lsq"))
    masked, repaired = weights(after(model, asked)), weights(found.model)
    left = {name for name in OF_LOOP if np.array_equal(masked[name], repaired[name])}
    assert left >= {"in_round_up", "in_round_down"}
    assert any("repair does not reach 2 of the 2" in note for note in found.notes)
