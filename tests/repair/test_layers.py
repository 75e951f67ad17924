"""Layers as matrices over patches, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.repair.layers import linear_layers
from upscale_onnx.runtime.sessions import make_session, run


def _model(op_type: str, x: tuple[int, ...], w: tuple[int, ...], bias: bool, attrs: dict[str, Any]) -> onnx.ModelProto:
    rng = np.random.default_rng([len(x), *w])
    channels = w[0] if op_type == "Conv" or attrs.get("transB") else w[-1]
    tensors = {"w": rng.normal(size=w).astype(np.float32)}
    if bias:
        tensors["b"] = rng.normal(size=channels).astype(np.float32)
    if op_type == "MatMul":
        nodes = [helper.make_node("MatMul", ["x", "w"], ["z" if bias else "y"])]
        nodes += [helper.make_node("Add", ["b", "z"], ["y"])] if bias else []
    else:
        nodes = [helper.make_node(op_type, ["x", *tensors], ["y"], **attrs)]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


CASES: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], bool, dict[str, Any]]] = {
    "pointwise": ("Conv", (2, 3, 4, 5), (6, 3, 1, 1), True, {}),
    "pads and strides": ("Conv", (2, 3, 7, 8), (4, 3, 3, 2), True, {"pads": [1, 0, 2, 1], "strides": [2, 3]}),
    "dilations": ("Conv", (1, 2, 9, 9), (4, 2, 3, 3), False, {"dilations": [2, 3], "strides": [2, 1]}),
    "groups": ("Conv", (2, 6, 5, 5), (4, 3, 3, 3), True, {"group": 2, "pads": [1, 1, 1, 1]}),
    "depthwise": ("Conv", (2, 4, 6, 6), (4, 1, 3, 3), True, {"group": 4, "strides": [2, 2]}),
    "same upper": ("Conv", (1, 2, 7, 8), (3, 2, 4, 2), True, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same lower": ("Conv", (1, 2, 7, 8), (3, 2, 4, 2), True, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "valid": ("Conv", (1, 2, 7), (3, 2, 4), True, {"auto_pad": "VALID"}),
    "volume": ("Conv", (1, 2, 4, 5, 4), (3, 2, 2, 3, 2), False, {"pads": [1, 0, 0, 0, 1, 0]}),
    "gemm": ("Gemm", (5, 4), (4, 3), True, {}),
    "gemm transposed": ("Gemm", (5, 4), (3, 4), True, {"transB": 1}),
    "matmul": ("MatMul", (2, 5, 4), (4, 3), False, {}),
    "matmul and add": ("MatMul", (2, 5, 4), (4, 3), True, {}),
    "several matrices": ("MatMul", (2, 3, 5, 4), (3, 4, 6), False, {}),
    "several of the same": ("MatMul", (2, 1, 5, 4), (3, 4, 6), False, {}),
    "several of one sample": ("MatMul", (5, 4), (3, 4, 6), False, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_patches_times_the_matrix_are_the_outputs(name: str) -> None:
    model = _model(*CASES[name])
    (layer,) = linear_layers(model)
    x = np.random.default_rng(1).normal(size=CASES[name][1]).astype(np.float32)
    (y,) = run(make_session(model), {"x": x})
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    matrix = layer.matrix(tensors["w"], tensors.get("b"))
    samples, positions = layer.positions(x.shape)
    count = samples * positions
    assert count * layer.outputs == y.size
    assert samples == (x.shape[0] if x.ndim > 2 else 5)
    chosen = np.random.default_rng(2).permutation(count)[: max(count // 2, 1)]
    np.testing.assert_allclose(layer.patches(x, chosen) @ matrix, layer.rows(y, chosen), rtol=1e-4, atol=1e-5)
    weight, bias = layer.tensors(matrix)
    np.testing.assert_array_equal(weight, tensors["w"])
    np.testing.assert_array_equal(bias, tensors.get("b", np.zeros(bias.shape)))
    assert layer.channels * layer.block + 1 == matrix.shape[1]


@pytest.mark.parametrize(
    "attrs",
    [{"transA": 1}, {"alpha": 0.5}, {"beta": 2.0}],
)
def test_forms_that_are_no_plain_product_are_left_out(attrs: dict[str, Any]) -> None:
    assert linear_layers(_model("Gemm", (4, 4), (4, 3), True, attrs)) == ()


def test_a_weight_of_two_nodes_is_left_out() -> None:
    model = _model("MatMul", (2, 4), (4, 4), False, {})
    model.graph.node[0].output[0] = "z"
    model.graph.node.append(helper.make_node("MatMul", ["z", "w"], ["y"]))
    assert linear_layers(model) == ()
