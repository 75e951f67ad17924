"""What is known before a graph runs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.channels.constants import find_constants
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.model.known import Constants

Node = onnx.NodeProto


def node(op: str, inputs: list[str], output: str, **attrs: Any) -> Node:
    return helper.make_node(op, inputs, [output], **attrs)


def known(nodes: list[Node], weights: dict[str, Any] | None = None, opset: int = 21) -> Constants:
    """Constants of a graph whose input `x` is (N, 6, 4, 5)."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6, 4, 5])
    graph = helper.make_graph(
        [*nodes, node("Identity", ["x"], "y")],
        "g",
        [x],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 6, 4, 5])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    shapes = {name: shape.dims for name, shape in infer_shapes(model).items()}
    return find_constants(import_graph(model), shapes, opset)


def test_shapes_are_known_as_far_as_they_are() -> None:
    found = known(
        [
            node("Shape", ["x"], "shape"),
            node("Gather", ["shape", "zero"], "batch", axis=0),
            node("Unsqueeze", ["batch", "first"], "row"),
            node("Gather", ["shape", "one"], "channels", axis=0),
            node("Unsqueeze", ["channels", "first"], "column"),
            node("Concat", ["row", "column", "rest"], "target", axis=0),
            node("Slice", ["shape", "two", "four"], "space"),
            node("Mul", ["channels", "one"], "product"),
        ],
        {"zero": 0, "one": 1, "first": [0], "rest": [-1], "two": [2], "four": [4]},
    )
    assert found.shape_value("target") == ("N", 6, -1)
    assert found.shape_value("batch") == ("N",)
    assert "target" not in found
    assert found.shape_value("space") == (4, 5)
    product = found.array("product")
    assert product is not None
    assert product == 6
    assert {"shape", "channels", "product", "space"} <= found.from_shape
    assert "one" not in found.from_shape


def test_start_and_end_of_a_shape() -> None:
    found = known([node("Shape", ["x"], "tail", start=-2), node("Shape", ["x"], "head", end=2)])
    assert found.shape_value("tail") == (4, 5)
    assert found.shape_value("head") == ("N", 6)


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"value": numpy_helper.from_array(np.array([[1, 2]]), "v")}, [[1, 2]]),
        ({"value_float": 1.5}, 1.5),
        ({"value_floats": [1.5, 2]}, [1.5, 2]),
        ({"value_int": 7}, 7),
        ({"value_ints": [7, 8]}, [7, 8]),
    ],
)
def test_constant_nodes(attrs: dict[str, Any], expected: Any) -> None:
    array = known([node("Constant", [], "c", **attrs)]).array("c")
    assert array is not None
    assert array.tolist() == expected


def test_weights_are_known_behind_what_rearranges_them() -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = known([node("Identity", ["w"], "same"), node("Transpose", ["same"], "turned", perm=[1, 0])], {"w": weight})
    turned = found.array("turned")
    assert turned is not None
    assert np.array_equal(turned, weight.T)


def test_what_depends_on_the_input_is_not_known() -> None:
    found = known([node("Add", ["x", "w"], "sum"), node("RandomNormal", [], "noise", shape=[2])], {"w": np.float32(1)})
    assert "sum" not in found
    assert "noise" not in found


@pytest.mark.parametrize(
    ("nodes", "name"),
    [
        ([node("ConstantOfShape", ["huge"], "big")], "big"),
        ([node("Expand", ["one", "huge"], "big")], "big"),
        ([node("Tile", ["one", "tall"], "big")], "big"),
        ([node("Range", ["start", "stop", "step"], "big")], "big"),
        ([node("Range", ["start", "stop", "none"], "big")], "big"),
        ([node("Add", ["column", "row"], "big")], "big"),
        ([node("Gather", ["row", "many"], "big", axis=0)], "big"),
    ],
)
def test_small_models_with_huge_constants_are_not_folded(nodes: list[Node], name: str) -> None:
    weights = {
        "huge": np.array([1 << 20, 1 << 20]),
        "tall": np.array([1 << 40]),
        "one": np.ones(1, np.float32),
        "start": np.int64(0),
        "stop": np.int64(1 << 60),
        "step": np.int64(1),
        "none": np.int64(0),
        "column": np.ones((1 << 14, 1), np.float32),
        "row": np.ones((1, 1 << 14), np.float32),
        "many": np.zeros(1 << 14, np.int64),
    }
    assert name not in known(nodes, weights)


def test_doubling_ends() -> None:
    names = ["w", *(f"d{number}" for number in range(40))]
    nodes = [node("Concat", [a, a], b, axis=0) for a, b in pairwise(names)]
    found = known(nodes, {"w": np.zeros((1 << 10, 1 << 10), np.uint8)})
    assert "d2" in found
    assert "d39" not in found


def test_contradictory_attributes_make_a_value_unknown() -> None:
    nodes = [
        node("Transpose", ["w"], "a", perm=[0, 5]),
        node("Gather", ["w", "far"], "b", axis=0),
        node("Add", ["w", "odd"], "c"),
        node("Slice", ["w", "far", "far", "far"], "d"),
        node("Reshape", ["w", "far"], "e"),
    ]
    weights = {"w": np.ones((2, 3), np.float32), "far": np.array([9]), "odd": np.ones(5, np.float32)}
    found = known(nodes, weights)
    assert not any(name in found for name in "abcde")
