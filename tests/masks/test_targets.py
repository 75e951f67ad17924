"""Which weights can be masked, and along which axes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.masks.targets import MaskTarget, mask_targets


def _model(
    nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], outputs: list[str], dtype: type = np.float32
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.ones(shape, dtype), name) for name, shape in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def _only(node: onnx.NodeProto, weights: dict[str, tuple[int, ...]]) -> MaskTarget:
    (target,) = mask_targets(_model([node], weights, ["other"]))
    return target


@pytest.mark.parametrize(
    ("node", "shape", "input_axis", "output_axis"),
    [
        (helper.make_node("Conv", ["x", "w"], ["y"]), (9, 8, 3, 3), 1, 0),
        (helper.make_node("Conv", ["x", "w"], ["y"]), (9, 8, 3), 1, 0),
        (helper.make_node("Conv", ["x", "w"], ["y"], group=2), (10, 4, 3, 3), None, 0),
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"]), (8, 9, 2, 2), 0, 1),
        (helper.make_node("Gemm", ["x", "w"], ["y"]), (8, 9), 0, 1),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), (9, 8), 1, 0),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), (8, 9), 0, 1),
        (helper.make_node("Gemm", ["w", "x"], ["y"]), (9, 8), 1, 0),
        (helper.make_node("Gemm", ["w", "x"], ["y"], transA=1), (8, 9), 0, 1),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), (8, 9), 0, 1),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), (2, 8, 9), 1, 2),
        (helper.make_node("MatMul", ["w", "x"], ["y"]), (2, 9, 8), 2, 1),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else str(value),
)
def test_axes(node: onnx.NodeProto, shape: tuple[int, ...], input_axis: int | None, output_axis: int | None) -> None:
    target = _only(node, {"w": shape})
    assert (target.input_axis, target.output_axis) == (input_axis, output_axis)
    assert target.shape == shape
    assert target.channels("input") == 8
    assert target.channels("output") == shape[output_axis if output_axis is not None else 0]


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=2), (8, 4, 2, 2)),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), (8,)),
        (helper.make_node("Conv", ["x", "w"], ["y"], domain="com.example"), (8, 8, 1, 1)),
        (helper.make_node("Conv", ["w", "x"], ["y"]), (8, 8, 1, 1)),
        (helper.make_node("MatMul", ["w", "w"], ["y"]), (8, 8)),
        (helper.make_node("Add", ["x", "w"], ["y"]), (8, 8)),
    ],
    ids=["grouped ConvTranspose", "vector", "domain", "constant data", "constant result", "Add"],
)
def test_what_is_no_target(node: onnx.NodeProto, shape: tuple[int, ...]) -> None:
    assert mask_targets(_model([node], {"w": shape}, ["y"])) == ()


def test_integer_weights_are_no_targets() -> None:
    model = _model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": (8, 8)}, ["y"], np.int32)
    assert mask_targets(model) == ()


@pytest.mark.parametrize("data_type", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_other_floats_are_targets(data_type: int) -> None:
    model = _model([helper.make_node("MatMul", ["x", "w"], ["y"])], {}, ["y"])
    model.graph.initializer.append(helper.make_tensor("w", data_type, (8, 8), [1.0] * 64))
    assert [t.weight for t in mask_targets(model)] == ["w"]


def test_constant_nodes_and_identities_are_followed() -> None:
    value = numpy_helper.from_array(np.ones((8, 8), np.float32))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=value),
        helper.make_node("Identity", ["c"], ["alias"]),
        helper.make_node("Identity", ["alias"], ["alias_of_alias"]),
        helper.make_node("MatMul", ["x", "alias_of_alias"], ["y"], name="first"),
    ]
    (target,) = mask_targets(_model(nodes, {}, ["y"]))
    assert (target.weight, target.node) == ("c", "first")


def test_a_shared_weight_is_listed_once_and_an_unnamed_node_by_its_output() -> None:
    nodes = [
        helper.make_node("Identity", ["w"], ["alias"]),
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Conv", ["a", "alias"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["c"]),
    ]
    targets = mask_targets(_model(nodes, {"w": (8, 8, 1, 1), "v": (8, 8, 1, 1)}, ["c"]))
    assert [(t.weight, t.node) for t in targets] == [("w", "a"), ("v", "c")]


def test_depthwise_is_recognised() -> None:
    assert _only(helper.make_node("Conv", ["x", "w"], ["y"], group=8), {"w": (16, 1, 3, 3)}).is_depthwise
    assert not _only(helper.make_node("Conv", ["x", "w"], ["y"], group=2), {"w": (16, 4, 3, 3)}).is_depthwise
    assert not _only(helper.make_node("Conv", ["x", "w"], ["y"]), {"w": (16, 1, 3, 3)}).is_depthwise


@pytest.mark.parametrize(
    ("node", "bias_shape", "found"),
    [
        (helper.make_node("Conv", ["x", "w", "b"], ["y"]), (9,), True),
        (helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"]), (8,), True),
        (helper.make_node("Gemm", ["x", "g", "b"], ["y"], transB=1), (9,), True),
        (helper.make_node("Gemm", ["x", "g", "b"], ["y"], transB=1), (1, 9), True),
        (helper.make_node("Gemm", ["x", "g", "b"], ["y"], transB=1), (1,), False),
        (helper.make_node("Gemm", ["x", "g", "b"], ["y"], transB=1), (), False),
        (helper.make_node("Gemm", ["x", "g", ""], ["y"], transB=1), (9,), False),
        (helper.make_node("Gemm", ["g", "x", "b"], ["y"]), (9,), False),
    ],
)
def test_bias(node: onnx.NodeProto, bias_shape: tuple[int, ...], found: bool) -> None:
    target = _only(node, {"w": (9, 8, 1, 1), "g": (9, 8), "b": bias_shape})
    assert target.bias == ("b" if found else None)


def test_a_bias_that_others_use_is_not_the_nodes_own() -> None:
    conv = helper.make_node("Conv", ["x", "w", "b"], ["y"])
    weights = {"w": (8, 8, 1, 1), "v": (8, 8, 1, 1), "b": (8,)}
    other = helper.make_node("Conv", ["y", "v", "alias"], ["z"])
    alias = helper.make_node("Identity", ["b"], ["alias"])
    assert [t.bias for t in mask_targets(_model([alias, conv, other], weights, ["z"]))] == [None, None]
    assert [t.bias for t in mask_targets(_model([conv], weights, ["y", "b"]))] == [None]


def test_a_bias_that_a_subgraph_captures_is_not_the_nodes_own() -> None:
    def branch(name: str) -> onnx.GraphProto:
        body = [helper.make_node("Neg", ["b"], [name])]
        return helper.make_graph(body, name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])

    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"]),
        helper.make_node("If", ["x"], ["z"], then_branch=branch("t"), else_branch=branch("e")),
    ]
    assert [t.bias for t in mask_targets(_model(nodes, {"w": (8, 8, 1, 1), "b": (8,)}, ["z"]))] == [None]


def test_a_grouped_convolution_reads_the_channels_of_all_groups() -> None:
    target = _only(helper.make_node("Conv", ["x", "w"], ["y"], group=2), {"w": (6, 4, 3, 3)})
    weight = np.random.default_rng(0).normal(size=(6, 4, 3, 3))
    turned = target.turned(weight, "input")
    assert turned.shape == (8, 3, 3, 3)
    for channel in range(8):  # group 0 makes the first three channels of the first four, group 1 the others
        group = channel // 4
        np.testing.assert_array_equal(turned[channel], weight[3 * group : 3 * group + 3, channel % 4])
    np.testing.assert_array_equal(target.turned(turned, "input"), weight)
    assert target.turned(weight, "output") is weight
