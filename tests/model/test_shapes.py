from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.model import Shape, infer_shapes, load_model

CNN = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 3, h, w] x) => (float[n, k] y, p)
<float[64, 3, 3, 3] big, int64[2] shape = {0, -1}>
{
    c = Conv<pads = [1, 1, 1, 1]>(x, big)
    a = GlobalAveragePool(c)
    y = Reshape(a, shape)
    p = Shape(a)
}
"""


def cnn() -> onnx.ModelProto:
    model = onnx.parser.parse_model(CNN)
    for index, tensor in enumerate(model.graph.initializer):
        if tensor.name == "big":
            del model.graph.initializer[index]
            break
    for index, value in enumerate(model.graph.input):
        if value.name == "big":
            del model.graph.input[index]
    model.graph.initializer.append(numpy_helper.from_array(np.ones((64, 3, 3, 3), np.float32), "big"))
    return model


def test_every_value_has_its_shape_and_small_constants_are_read() -> None:
    shapes = infer_shapes(cnn())
    assert shapes["x"] == Shape(TensorProto.FLOAT, ("n", 3, "h", "w"))
    assert shapes["big"] == Shape(TensorProto.FLOAT, (64, 3, 3, 3))
    assert shapes["shape"] == Shape(TensorProto.INT64, (2,))
    assert shapes["c"].dims[:2] == ("n", 64)
    assert not any(isinstance(dim, int) for dim in shapes["c"].dims[2:])
    assert shapes["y"].dims[0] == "n"
    assert shapes["y"].rank == 2
    assert shapes["p"] == Shape(TensorProto.INT64, (4,))
    assert shapes["big"].is_static
    assert not shapes["c"].is_static


def test_the_model_is_left_as_it_is() -> None:
    model = cnn()
    infer_shapes(model)
    assert model == cnn()


def test_a_large_constant_node_counts_by_its_shape_only() -> None:
    weight = numpy_helper.from_array(np.ones((64, 128), np.float32), "value")
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["w"], value=weight),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    shapes = infer_shapes(model)
    assert shapes["w"].dims == (64, 128)
    assert shapes["y"].dims[1] == 128


def test_unknown_ranks_are_absent_and_unknown_operators_stop_nothing() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "other" : 1]>
        g (float[2, n] x) => (float[] z, float[2] y)
        <int64[1] axes = {1}>
        {
            z = other.Mystery (x)
            a = Relu (x)
            y = ReduceSum <keepdims = 0> (a, axes)
        }
    """)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -1
    shapes = infer_shapes(model)
    assert "z" not in shapes
    assert shapes["a"].dims == (2, None)


def test_a_model_beyond_two_gigabytes_is_inferred_without_touching_its_weights() -> None:
    model = cnn()
    node = model.graph.node.add(op_type="MatMul", input=["x", "huge"], output=["out"])
    huge = TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=[1 << 20, 1 << 20])
    model.graph.initializer.append(huge)  # four terabytes by its shape, no data
    assert infer_shapes(model)[node.input[1]].dims == (1 << 20, 1 << 20)


def test_inference_is_quick_and_complete_on_the_corpus(corpus: Path) -> None:
    for path in sorted((corpus / "trained").glob("*.onnx")):
        model = load_model(path)
        started = time.perf_counter()
        shapes = infer_shapes(model)
        assert time.perf_counter() - started < 2.0
        assert {value.name for value in model.graph.input} <= shapes.keys(), path.name


COMPUTED = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 8, h, 6] x) => (float[a, b, c, d] y, float[e, f] z)
<int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}, int64[1] zero = {0}, int64[1] minus = {-1}>
{
    s = Shape(x)
    c1 = Gather(s, one)
    half = Div(c1, two)
    left = Slice(x, half, c1, one)
    s2 = Shape(left)
    n1 = Gather(s2, zero)
    c2 = Gather(s2, one)
    h1 = Gather(s2, two)
    w1 = Gather(s2, three)
    many = Mul(c2, w1)
    to = Concat<axis=0>(n1, many, h1)
    r = Reshape(left, to)
    open = Concat<axis=0>(h1, minus)
    y = Relu(left)
    s3 = Shape(r)
    same = Reshape(left, s3)
    z = Reshape(left, open)
    some = Concat<axis=0>(n1, minus, h1, two)
    v = Reshape(left, some)
}
"""


def test_computed_bounds_and_sizes_are_followed() -> None:
    text = COMPUTED.replace("    q = Reshape(x, q_to)\n", "").replace(
        "{3}>", "{3}, int64[1] zero = {0}, int64[1] minus = {-1}>"
    )
    shapes = infer_shapes(onnx.parser.parse_model(text))
    assert shapes["left"].dims == ("n", 4, "h", 6)
    assert shapes["r"].dims == ("n", 24, "h")
    assert shapes["same"].dims == ("n", 24, "h")
    assert shapes["v"].dims == ("n", 12, "h", 2)


def test_a_computed_shape_of_which_nothing_is_known_tells_the_rank() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 8] x, int64[3] to) => (float[a, b, c] y)
        { r = Reshape(x, to)
          y = Relu(r) }
        """)
    assert infer_shapes(model)["r"].rank == 3


def test_a_branch_that_the_rank_of_a_value_decides_gives_its_shape() -> None:
    """As PyTorch's TorchScript exporter writes a tile."""
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 3] x) => (float[a, b] y) <int64[1] two = {2}, int64[2] repeats = {1, 4}, int64[1] one = {1}> {
            shape = Shape (x)
            rank = Size (shape)
            is_short = Less (rank, two)
            tiles = If (is_short) <
                then_branch = longer () => (int64[k] c) { c = Concat <axis = 0> (one, repeats) },
                else_branch = as_is () => (int64[k] d) { d = Identity (repeats) }
            >
            y = Tile (x, tiles)
        }
    """)
    assert infer_shapes(model)["y"].dims[1] == 12
