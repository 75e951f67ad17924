"""Recurrent layers with masks: what stays at zero and what nothing reads goes, and the results stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.channels.compiled import Compiled, compiled
from tests.channels.engine import Engine
from upscale_onnx.types import Array

_FEATURES, _UNITS, _OUT, _LENGTH, _BATCH = 6, 8, 3, 5, 2
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def masked(op: str, ways: int, gone: list[list[int]], blind: list[int], rng: np.random.Generator) -> dict[str, Array]:
    """Weights of a recurrent layer whose units `gone` of each direction compute nothing, and that does not read the
    input channels `blind`."""
    gates = _GATES[op]
    w = rng.normal(size=(ways, gates, _UNITS, _FEATURES)).astype(np.float32)
    r = rng.normal(size=(ways, gates, _UNITS, _UNITS)).astype(np.float32)
    b = rng.normal(size=(ways, 2, gates, _UNITS)).astype(np.float32)
    for way, units in enumerate(gone):
        w[way][:, units] = r[way][:, units] = b[way][:, :, units] = 0
    w[..., blind] = 0
    sizes = gates * _UNITS
    return {"W": w.reshape(ways, sizes, -1), "R": r.reshape(ways, sizes, -1), "B": b.reshape(ways, -1)}


def layered(op: str, weights: dict[str, Array], readers: list[Any], width: int, **attrs: Any) -> onnx.ModelProto:
    """Features made by a layer, the recurrent layer, `readers` from y to z, and a layer that reads `width` of z."""
    rng = np.random.default_rng(1)
    constants = {
        **weights,
        "into": rng.normal(size=(4, _FEATURES)).astype(np.float32),
        "last": rng.normal(size=(width, _OUT)).astype(np.float32),
        "one": np.asarray([1], np.int64),
        "flat": np.asarray([0, 0, -1], np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "into"], ["f"]),
        helper.make_node(op, ["f", "W", "R", "B"], ["y"], hidden_size=_UNITS, **attrs),
        *readers,
        helper.make_node("MatMul", ["z", "last"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("x", 1, [_LENGTH, "batch", 4])],
        [helper.make_tensor_value_info("out", 1, [_LENGTH, "batch", _OUT])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


ONE_WAY = [helper.make_node("Squeeze", ["y", "one"], ["z"])]
BOTH_WAYS = [
    helper.make_node("Transpose", ["y"], ["t"], perm=[0, 2, 1, 3]),
    helper.make_node("Reshape", ["t", "flat"], ["z"]),
]


def assert_same(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    feed = {"x": np.random.default_rng(2).normal(size=(_LENGTH, _BATCH, 4)).astype(np.float32)}
    np.testing.assert_allclose(Engine(after).run(feed)[0], Engine(before).run(feed)[0], rtol=1e-5, atol=1e-6)


def shape_of(result: Compiled, op: str, index: int) -> tuple[int, ...]:
    """The shape of an input of the recurrent layer."""
    node = next(node for node in result.model.graph.node if node.op_type == op)
    return next(tuple(t.dims) for t in result.model.graph.initializer if t.name == node.input[index])


@pytest.mark.parametrize("op", _GATES)
def test_units_that_stay_at_zero_go(op: str) -> None:
    rng = np.random.default_rng(3)
    model = layered(op, masked(op, 1, [[1, 4, 5]], [0, 2], rng), ONE_WAY, _UNITS)
    result = compiled(model)
    assert_same(model, result.model)
    gates = _GATES[op]
    assert shape_of(result, op, 1) == (1, gates * 5, 4)
    assert shape_of(result, op, 2) == (1, gates * 5, 5)
    assert shape_of(result, op, 3) == (1, 2 * gates * 5)


@pytest.mark.parametrize("op", _GATES)
def test_units_that_nothing_reads_go_with_all_that_only_they_read(op: str) -> None:
    rng = np.random.default_rng(4)
    weights = masked(op, 1, [[]], [], rng)
    recurrence = weights["R"].reshape(_GATES[op], _UNITS, _UNITS)
    recurrence[:, :6, 6:] = 0  # nothing reads units 6 and 7 but themselves
    model = layered(op, weights, ONE_WAY, _UNITS)
    last = next(t for t in model.graph.initializer if t.name == "last")
    kept = numpy_helper.to_array(last).copy()
    kept[6:] = 0
    kept[5] = 0  # the others still depend on unit 5
    last.CopyFrom(numpy_helper.from_array(kept, "last"))
    result = compiled(model)
    assert_same(model, result.model)
    assert shape_of(result, op, 2) == (1, _GATES[op] * 6, 6)


@pytest.mark.parametrize("op", _GATES)
def test_directions_lose_different_units_and_keep_as_many(op: str) -> None:
    rng = np.random.default_rng(5)
    model = layered(
        op, masked(op, 2, [[0, 1, 2], [3, 4, 5, 7]], [], rng), BOTH_WAYS, 2 * _UNITS, direction="bidirectional"
    )
    result = compiled(model)
    assert_same(model, result.model)
    assert shape_of(result, op, 2) == (2, _GATES[op] * 5, 5)


@pytest.mark.parametrize("gone", [0, 1])
def test_a_direction_without_units_goes(gone: int) -> None:
    rng = np.random.default_rng(6)
    dead = [[2], [2]]
    dead[gone] = list(range(_UNITS))
    model = layered(
        "LSTM", masked("LSTM", 2, dead, [], rng), BOTH_WAYS, 2 * _UNITS, direction="bidirectional",
        activations=["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Softsign"],
    )  # fmt: skip
    result = compiled(model)
    assert_same(model, result.model)
    assert shape_of(result, "LSTM", 2) == (1, 28, 7)
    node = next(node for node in result.model.graph.node if node.op_type == "LSTM")
    attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert attrs["direction"] == (b"reverse" if gone == 0 else b"forward")
    assert len(attrs["activations"]) == 3


def test_factors_of_activations_keep_both_directions() -> None:
    rng = np.random.default_rng(7)
    weights = masked("RNN", 2, [list(range(_UNITS)), []], [], rng)
    attrs = {"direction": "bidirectional", "activations": ["LeakyRelu", "LeakyRelu"], "activation_alpha": [0.1, 0.3]}
    model = layered("RNN", weights, BOTH_WAYS, 2 * _UNITS, **attrs)
    result = compiled(model)
    assert_same(model, result.model)
    assert shape_of(result, "RNN", 2)[0] == 2


@pytest.mark.parametrize("op", _GATES)
def test_whatever_the_masks_the_results_stay(op: str) -> None:
    rng = np.random.default_rng(8)
    for _ in range(12):
        ways = int(rng.integers(1, 3))
        gone = [np.flatnonzero(rng.random(_UNITS) < rng.random()).tolist() for _ in range(ways)]
        weights = masked(op, ways, gone, np.flatnonzero(rng.random(_FEATURES) < 0.4).tolist(), rng)
        weights["R"][rng.random(weights["R"].shape) < 0.9] = 0
        attrs = {"direction": "bidirectional"} if ways == 2 else {}
        model = layered(op, weights, BOTH_WAYS if ways == 2 else ONE_WAY, ways * _UNITS, **attrs)
        last = next(t for t in model.graph.initializer if t.name == "last")
        values = numpy_helper.to_array(last).copy()
        values[rng.random(len(values)) < 0.5] = 0
        last.CopyFrom(numpy_helper.from_array(values, "last"))
        result = compiled(model, align=int(rng.integers(1, 5)), order=rng)
        assert_same(model, result.model)


@pytest.mark.parametrize("op", _GATES)
@pytest.mark.parametrize("gone", [[[1, 4, 5]], [[0, 1, 2], [3, 4, 5, 7]], [[], list(range(_UNITS))]])
def test_a_gather_takes_what_is_left_of_states_that_are_inputs(op: str, gone: list[list[int]]) -> None:
    """Units of which nothing is computed and nothing read go, although their first state may be any number."""
    ways, rng = len(gone), np.random.default_rng(8)
    weights = masked(op, ways, gone, [], rng)
    recurrence = weights["R"].reshape(ways, _GATES[op], _UNITS, _UNITS)
    for way, units in enumerate(gone):
        recurrence[way][..., units] = 0
    readers = ONE_WAY if ways == 1 else BOTH_WAYS
    model = layered(op, weights, readers, ways * _UNITS, **({} if ways == 1 else {"direction": "bidirectional"}))
    last = next(t for t in model.graph.initializer if t.name == "last")
    read = numpy_helper.to_array(last).copy()
    read[[way * _UNITS + unit for way, units in enumerate(gone) for unit in units]] = 0
    last.CopyFrom(numpy_helper.from_array(read, "last"))
    states = ["h", "c"] if op == "LSTM" else ["h"]
    node = next(node for node in model.graph.node if node.op_type == op)
    node.input.extend(["", *states])
    model.graph.input.extend(helper.make_tensor_value_info(name, 1, [ways, "batch", _UNITS]) for name in states)
    result = compiled(model)
    feed = {"x": rng.normal(size=(_LENGTH, _BATCH, 4)), **{n: rng.normal(size=(ways, _BATCH, _UNITS)) for n in states}}
    feed = {name: value.astype(np.float32) for name, value in feed.items()}
    np.testing.assert_allclose(Engine(result.model).run(feed)[0], Engine(model).run(feed)[0], rtol=1e-5, atol=1e-6)
    left = max(_UNITS - len(units) for units in gone)
    assert shape_of(result, op, 2) == (sum(len(units) < _UNITS for units in gone), _GATES[op] * left, left)
