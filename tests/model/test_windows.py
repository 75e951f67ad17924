"""Windows that would end the process of an older library are refused before any library sees them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.errors import ModelError
from upscale_onnx.model import load_model


def model(nodes: list[onnx.NodeProto], functions: list[onnx.FunctionProto] | None = None) -> onnx.ModelProto:
    """x (1, 3, 8, 8), and cond -> `nodes` -> y; w is a weight of 3x3."""
    graph = helper.make_graph(
        nodes,
        "windows",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8]),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((3, 3, 3, 3), np.float32), "w")],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions or [], ir_version=8)


@pytest.mark.parametrize("name", ["strides", "dilations"])
@pytest.mark.parametrize("sizes", [[0, 0], [1, 0], [-1, 1]])
@pytest.mark.parametrize(
    ("op_type", "inputs"), [("Conv", ["x", "w"]), ("ConvTranspose", ["x", "w"]), ("MaxPool", ["x"]), ("LpPool", ["x"])]
)
def test_a_window_that_cannot_be(op_type: str, inputs: list[str], name: str, sizes: list[int]) -> None:
    node = helper.make_node(op_type, inputs, ["y"], "layer", kernel_shape=[3, 3], **{name: sizes})
    with pytest.raises(ModelError, match=rf"node 'layer' \({op_type}\) has {name} .*: they must be at least 1"):
        load_model(model([node]))


def test_a_group_of_nothing() -> None:
    with pytest.raises(ModelError, match=r"has group \[0\]: they must be at least 1"):
        load_model(model([helper.make_node("Conv", ["x", "w"], ["y"], group=0)]))


def test_in_a_subgraph() -> None:
    pool = helper.make_node("MaxPool", ["x"], ["inner"], "pool", kernel_shape=[2, 2], strides=[0, 0])
    branch = helper.make_graph([pool], "branch", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)])
    with pytest.raises(ModelError, match="node 'pool'"):
        load_model(model([helper.make_node("If", ["cond"], ["y"], then_branch=branch, else_branch=branch)]))


def test_in_a_function() -> None:
    pool = helper.make_node("MaxPool", ["a"], ["b"], "pool", kernel_shape=[2, 2], strides=[0, 0])
    function = helper.make_function("own", "pooled", ["a"], ["b"], [pool], [helper.make_opsetid("", 18)])
    with pytest.raises(ModelError, match="node 'pool'"):
        load_model(model([helper.make_node("pooled", ["x"], ["y"], domain="own")], [function]))


def test_ordinary_windows_load() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], dilations=[1, 1], kernel_shape=[3, 3])
    load_model(model([node]))


def test_a_custom_operator_may_mean_what_it_likes() -> None:
    load_model(model([helper.make_node("Window", ["x"], ["y"], domain="own", strides=[0])]))
