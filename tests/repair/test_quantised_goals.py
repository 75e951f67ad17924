"""Layers between quantisers: what they are compared at."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.repair.goals import Goals
from upscale_onnx.repair.layers import linear_layers


def _block(again: bool = False) -> onnx.ModelProto:
    """A layer whose weight stands behind an Identity, in quantisers; the network's input is added behind it. again:
    whether something else reads the quantised layer."""
    nodes = [
        helper.make_node("Identity", ["w"], ["w_read"]),
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("Conv", ["xd", "w_read"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["cd"]),
        helper.make_node("Add", ["xd", "cd"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["y"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.UINT8, None)]
    if again:
        outputs.append(helper.make_tensor_value_info("cq", TensorProto.UINT8, None))
    tensors = {"w": np.ones((4, 4, 1, 1), np.float32), "s": np.float32(0.5), "z": np.uint8(100)}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 2, 2])], outputs,
        [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_an_addition_behind_quantisers_is_the_goal() -> None:
    model = _block()
    (layer,) = linear_layers(model)
    assert (layer.weight, layer.source) == ("w", "xd")
    goal = Goals(model).goal(layer)
    assert (goal.value, goal.skip) == ("a", "xd")
    assert (goal.low, goal.high) == (-50.0, 77.5)


def test_what_is_read_otherwise_is_the_goal_itself() -> None:
    model = _block(again=True)
    goal = Goals(model).goal(*linear_layers(model))
    assert (goal.value, goal.skip) == ("c", None)
    assert (goal.low, goal.high) == (-50.0, 77.5)
