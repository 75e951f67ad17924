"""What is known of small tensors before a run, as shape inference uses it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.model import infer_shapes


def shape_of(nodes: list[onnx.NodeProto], **weights: object) -> tuple[object, ...] | None:
    """The dimensions that are found of y, a Reshape of x (2, 12) to the vector `target`."""
    nodes = [*nodes, helper.make_node("Reshape", ["x", "target"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 12])],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    found = infer_shapes(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]))
    return found["y"].dims if "y" in found else None


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Constant", [], ["target"], value_ints=[4, 6])],
        [helper.make_node("Range", ["four", "seven", "two"], ["target"])],
        [helper.make_node("Tile", ["row", "one"], ["tiled"]), helper.make_node("Abs", ["tiled"], ["target"])],
        [
            helper.make_node("ConstantOfShape", ["one"], ["ones"], value=numpy_helper.from_array(np.array([4]))),
            helper.make_node("Concat", ["ones", "six"], ["target"], axis=0),
        ],
    ],
    ids=["Constant", "Range", "Tile", "ConstantOfShape"],
)
def test_targets_that_are_computed_of_constants(nodes: list[onnx.NodeProto]) -> None:
    weights = {"four": 4, "seven": 7, "two": 2, "row": [-4, 6], "one": [1], "six": [6]}
    assert shape_of(nodes, **weights) == (4, 6)


def test_nothing_large_is_computed_for_a_shape() -> None:
    nodes = [
        helper.make_node("Expand", ["one", "many"], ["wide"]),
        helper.make_node("ReduceMax", ["wide"], ["least"], keepdims=0, axes=[0]),
        helper.make_node("Concat", ["least", "rest"], ["target"], axis=0),
    ]
    tracemalloc.start()
    shape_of(nodes, one=[[4]], many=[2**24, 1], rest=[-1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
