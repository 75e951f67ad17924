"""Recurrent layers are pruned by what they read: the channels of their sequence, and their own hidden units."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import upscale_onnx
from upscale_onnx.masks.targets import mask_targets

_FEATURES, _UNITS = 16, 24


def model_of(op: str, gates: int) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {
        "into": rng.normal(size=(4, _FEATURES)),
        "W": rng.normal(size=(1, gates * _UNITS, _FEATURES)),
        "R": rng.normal(size=(1, gates * _UNITS, _UNITS)) / 8,
        "last": rng.normal(size=(_UNITS, 3)),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "into"], ["f"]),
        helper.make_node(op, ["f", "W", "R"], ["y"], "cell", hidden_size=_UNITS),
        helper.make_node("Squeeze", ["y", "one"], ["z"]),
        helper.make_node("MatMul", ["z", "last"], ["out"]),
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.asarray([1], np.int64), "one"))
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("x", 1, [5, 2, 4])],
        [helper.make_tensor_value_info("out", 1, [5, 2, 3])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_both_weights_are_targets() -> None:
    found = {target.weight: target.channels("input") for target in mask_targets(model_of("LSTM", 4))}
    assert found["W"] == _FEATURES
    assert found["R"] == _UNITS


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_constrained_masks_take_hidden_units_and_inputs(op: str, gates: int) -> None:
    result = upscale_onnx.compile(
        model_of(op, gates), amount=0.5, method="constrained", export="gather", align=1, race=False
    )
    shapes = {tuple(tensor.dims) for tensor in result.model.graph.initializer}
    assert (1, gates * _UNITS // 2, _FEATURES // 2) in shapes
    assert (1, gates * _UNITS // 2, _UNITS // 2) in shapes
