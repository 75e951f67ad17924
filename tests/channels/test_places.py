"""Layers that mix places, along another axis than that of the channels: the neurons between two of them leave."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.channels.compiled import compiled
from tests.channels.engine import Engine
from upscale_onnx.types import Array

PLACES, CHANNELS, NEURONS, OUT = 6, 5, 8, 3
DEAD, STILL = [1, 2, 6], [0, 4]
LAYERS = {
    # by the operand that is constant: neurons on the last axis, or on the one before it
    "right": "t = Transpose<perm=[0,2,1]>(m) a = MatMul(t, w1) {inside} z = MatMul(r, w2) "
    "d = Transpose<perm=[0,2,1]>(z)",
    "left": "a = MatMul(w1, m) {inside} d = MatMul(w2, r)",
}
INSIDE = {
    "one operator": "r = Relu(a)",
    "a bias": "u = Add(a, b1) r = Relu(u)",
    "a function of several": "u = Add(a, b1) e = Erf(u) v = Mul(u, e) r = Mul(v, half)",
}


def network(layers: str, inside: str, weights: dict[str, Array]) -> onnx.ModelProto:
    """Channels, a block that mixes places and adds, and a layer that reads."""
    between = INSIDE.get(inside, inside)
    text = f"m = MatMul(x, w0) {LAYERS[layers].format(inside=between)} s = Add(m, d) y = MatMul(s, w3)"
    graph = f"g (float[b,{PLACES},4] x) => (float[b,{PLACES},{OUT}] y) {{ {text} }}"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {graph}')
    turned = {name: array.T if layers == "left" and name in ("w1", "w2") else array for name, array in weights.items()}
    if layers == "left":
        turned["b1"] = weights["b1"][:, None]
    used = {name for node in model.graph.node for name in node.input}
    constants = (numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in turned.items() if n in used)
    model.graph.initializer.extend(constants)
    return model


def drawn() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    shapes = {"w0": (4, CHANNELS), "w1": (PLACES, NEURONS), "b1": (NEURONS,), "w2": (NEURONS, PLACES)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["w3"] = rng.normal(size=(CHANNELS, OUT)).astype(np.float32)
    return weights | {"half": np.asarray(0.5, np.float32)}


def assert_same(model: onnx.ModelProto, small: onnx.ModelProto) -> None:
    feeds = {"x": np.random.default_rng(1).normal(size=(2, PLACES, 4)).astype(np.float32)}
    np.testing.assert_allclose(Engine(small).run(feeds)[0], Engine(model).run(feeds)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("zeroed", ["made", "read"])
@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("layers", LAYERS)
def test_neurons_leave(layers: str, inside: str, zeroed: str) -> None:
    weights = drawn()
    if zeroed == "made":
        weights["w1"][:, DEAD] = weights["b1"][DEAD] = 0
    else:
        weights["w2"][DEAD] = 0
    model = network(layers, inside, weights)
    result = compiled(model)
    assert_same(model, result.model)
    left = NEURONS - len(DEAD)
    sizes = result.weight_sizes()
    assert [size for name, size in sizes.items() if name.startswith(("w1", "w2"))] == [PLACES * left] * 2


@pytest.mark.parametrize("layers", LAYERS)
def test_channels_and_neurons_leave_together(layers: str) -> None:
    weights = drawn()
    weights["w2"][DEAD] = 0
    weights["w3"][STILL] = 0
    model = network(layers, "a bias", weights)
    result = compiled(model)
    assert_same(model, result.model)
    sizes = {name: size for name, size in result.weight_sizes().items() if name[:2] in ("w0", "w2", "w3")}
    left = CHANNELS - len(STILL)
    assert sorted(sizes.values()) == sorted([4 * left, (NEURONS - len(DEAD)) * PLACES, left * OUT])


def test_infinite_weights_keep_their_neurons() -> None:
    weights = drawn()
    weights["w1"][:, DEAD] = 0
    weights["w1"][0, DEAD[0]] = np.inf
    weights["w0"][:, STILL] = 0  # infinity times zero is NaN
    model = network("right", "one operator", weights)
    result = compiled(model)
    feeds = {"x": np.ones((1, PLACES, 4), np.float32)}
    np.testing.assert_array_equal(Engine(result.model).run(feeds)[0], Engine(model).run(feeds)[0])


def test_what_anything_else_reads_is_not_followed() -> None:
    """A Softmax over the neurons counts all of them."""
    weights = drawn()
    weights["w2"][DEAD] = 0
    model = network("right", "r = Softmax(a)", weights)
    result = compiled(model)
    assert_same(model, result.model)
    assert result.weight_sizes()["w1"] == PLACES * NEURONS


def test_constrained_pruning_takes_whole_neurons() -> None:
    rng = np.random.default_rng(3)
    wide = {"w1": (PLACES, 24), "b1": (24,), "w2": (24, PLACES)}
    weights = drawn() | {name: rng.normal(size=shape).astype(np.float32) for name, shape in wide.items()}
    model = network("right", "a bias", weights)
    result = upscale_onnx.compile(model, amount=0.5, method="constrained", export="gather", align=1, race=False)
    assert result.report.before.parameters - result.report.after.parameters == 12 * (2 * PLACES + 1)
