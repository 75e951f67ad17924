"""Attributes and weights that contradict one another, which the checker lets pass: a barrier, never a crash."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.model import Shape, import_graph, infer_shapes
from upscale_onnx.plan.emitted import emitted_classes
from upscale_onnx.plan.plan import make_plan


def _f(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def _i(*values: int) -> Any:
    return np.asarray(values, np.int64)


FORMS: list[tuple[str, list[Any], dict[str, Any], int]] = [
    ("Transpose", [], {"perm": [0, 1]}, 1),
    ("Transpose", [], {"perm": [0, 1, 2, 9]}, 1),
    ("Softmax", [], {"axis": 9}, 1),
    ("Concat", [_f(1, 8, 4, 4)], {"axis": 7}, 1),
    ("Concat", [_f(8)], {"axis": 1}, 1),
    ("Conv", [_f(4, 8, 1, 1)], {"group": 0}, 1),
    ("Conv", [_f(4, 8, 1, 1)], {"group": 3}, 1),
    ("Conv", [_f(4, 5, 1, 1)], {}, 1),
    ("Conv", [_f(4, 8)], {}, 1),
    ("ConvTranspose", [_f(5, 8, 1, 1)], {"group": 2}, 1),
    ("Gemm", [_f(8, 4)], {}, 1),
    ("MatMul", [_f(3, 3)], {}, 1),
    ("BatchNormalization", [_f(5), _f(8), _f(8), _f(8)], {}, 1),
    ("InstanceNormalization", [_f(5), _f(8)], {}, 1),
    ("LayerNormalization", [_f(5), _f(8)], {"axis": 11}, 1),
    ("GroupNormalization", [_f(8), _f(8)], {"num_groups": 0}, 1),
    ("GroupNormalization", [_f(8), _f(8)], {"num_groups": 3}, 1),
    ("Add", [_f(5, 1, 1)], {}, 1),
    ("PRelu", [_f(3, 8, 1, 1)], {}, 1),
    ("Reshape", [_i(3, 7)], {}, 1),
    ("Reshape", [_i(0, 0, 0, 0, 0, 0)], {}, 1),
    ("Reshape", [_i(-1, -1)], {}, 1),
    ("Flatten", [], {"axis": 12}, 1),
    ("Squeeze", [_i(1)], {}, 1),
    ("Unsqueeze", [_i(17)], {}, 1),
    ("Expand", [_i(5, 1, 1)], {}, 1),
    ("Tile", [_i(2)], {}, 1),
    ("Slice", [_i(0, 0), _i(4)], {}, 1),
    ("Slice", [_i(0), _i(4), _i(11)], {}, 1),
    ("Slice", [_i(0), _i(4), _i(1), _i(0)], {}, 1),
    ("Split", [_i(3, 9)], {"axis": 1}, 2),
    ("Split", [_i(3, 5)], {"axis": 9}, 2),
    ("Gather", [_i(99)], {"axis": 1}, 1),
    ("Gather", [_i(0)], {"axis": -8}, 1),
    ("Pad", [_i(1, 1)], {}, 1),
    ("Pad", [_i(1, 1), np.float32(0), _i(9)], {}, 1),
    ("Resize", [_f(0), np.asarray([1, 2], np.float32)], {}, 1),
    ("DepthToSpace", [], {"blocksize": 0}, 1),
    ("DepthToSpace", [], {"blocksize": 5}, 1),
    ("SpaceToDepth", [], {"blocksize": 3}, 1),
    ("ReduceMean", [_i(9)], {}, 1),
    ("ArgMax", [], {"axis": -9}, 1),
    ("MaxPool", [], {"kernel_shape": [2, 2, 2]}, 1),
    *(
        (op, [_i(0)] if op == "Gather" else [], {"axis": axis}, 1)
        for op in ("Softmax", "LogSoftmax", "Hardmax", "ArgMax", "Flatten", "Concat", "Gather", "Split")
        for axis in (-(2**63), 2**63 - 1)
    ),
]


def analysed(op: str, weights: list[Any], attrs: dict[str, Any], outputs: int) -> Analysis:
    """The operator between two convolutions."""
    names = [f"w{index}" for index in range(len(weights))]
    results = [f"y{index}" for index in range(outputs)]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]),
        helper.make_node(op, ["h", *names], results, name="probed", **attrs),
        helper.make_node("Relu", [results[0]], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "malformed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in zip(names, weights, strict=True)]
        + [numpy_helper.from_array(_f(8, 3, 1, 1), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return analyse(import_graph(model), infer_shapes(model))


@pytest.mark.parametrize(("op", "weights", "attrs", "outputs"), FORMS, ids=[f"{f[0]}-{i}" for i, f in enumerate(FORMS)])
def test_a_node_that_contradicts_itself_is_left_as_it_is(
    op: str, weights: list[Any], attrs: dict[str, Any], outputs: int
) -> None:
    found = analysed(op, weights, attrs, outputs)
    plan = make_plan(found, emitted_classes(found))
    assert all(resize is None or not resize.constants for resize in plan.resizes)


def test_shapes_that_disagree_with_a_rule_make_a_barrier() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["h"]),
            helper.make_node("Transpose", ["h"], ["t"], name="probed", perm=[0, 2, 3, 1]),
        ],
        "wrong",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, [1, 4, 4, 8])],
        [numpy_helper.from_array(_f(8, 3, 1, 1), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    shapes = infer_shapes(model)
    right = analyse(import_graph(model), shapes)
    assert not right.refusals
    wrong = analyse(import_graph(model), {**shapes, "t": Shape(TensorProto.FLOAT, (1, 4, 4, 9))})
    assert [refusal.node for refusal in wrong.refusals] == ["probed"]
    assert wrong.maps["t"].axes == ()
