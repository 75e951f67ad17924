"""Quantised operators of onnxruntime between a producer with dead channels and a consumer."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.channels.engine import Engine
from upscale_onnx.runtime.verify import verify
from upscale_onnx.types import Array

DEAD, WIDTH = [1, 4, 5], 8
MS = "com.microsoft"


class Build:
    """A model in the making. Values have the scale 0.5 and the zero point 100."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(8)
        self.nodes: list[onnx.NodeProto] = []
        self.held: dict[str, Array] = {"s": np.float32(0.5), "z": np.uint8(100)}

    def node(self, op: str, inputs: str, output: str, **attrs: Any) -> str:
        """Add a node; return its output."""
        self.nodes.append(helper.make_node(op, inputs.split(), [output], **attrs))
        return output

    def weight(self, name: str, shape: tuple[int, ...], dead: list[int], axis: int = 0) -> str:
        """Hold a weight with its scales, zero points and bias; return their names."""
        values = self.rng.integers(-90, 91, shape).astype(np.int8)
        bias = self.rng.integers(-900, 900, shape[axis]).astype(np.int32)
        np.moveaxis(values, axis, 0)[dead], bias[dead] = 0, 0
        count = shape[axis]
        self.held |= {name: values, f"{name}s": self.rng.uniform(0.01, 0.02, count).astype(np.float32)}
        self.held |= {f"{name}z": np.zeros(count, np.int8), f"{name}b": bias}
        return f"{name} {name}s {name}z"

    def conv(self, source: str, name: str, channels: tuple[int, int], dead: list[int]) -> str:
        """Add a convolution; return its output."""
        weight = self.weight(name, (*channels, 3, 3), dead)
        return self.node("QLinearConv", f"{source} s z {weight} s z {name}b", f"{name}y", pads=[1] * 4)

    def model(self, output: str, shape: list[int]) -> onnx.ModelProto:
        """The model, from float to float."""
        graph = helper.make_graph(
            [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), *self.nodes],
            "qlinear",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in self.held.items()],
        )
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def between(op: str) -> onnx.ModelProto:
    """The operator between convolutions, of which those in front make dead channels."""
    build = Build()
    left = build.conv("q", "w1", (WIDTH, 4), DEAD)
    right = build.conv("q", "w2", (WIDTH, 4), DEAD)
    width = WIDTH
    if op in ("QLinearAdd", "QLinearMul"):
        made = build.node(op, f"{left} s z {right} s z s z", "made", domain=MS)
    elif op == "QLinearConcat":
        made, width = build.node(op, f"s z {left} s z {right} s z", "made", domain=MS, axis=1), 2 * WIDTH
    elif op == "QLinearWhere":
        build.held["c"] = build.rng.random((1, WIDTH, 1, 1)) < 0.5
        made = build.node(op, f"c {left} s z {right} s z s z", "made", domain=MS)
    else:
        attrs: dict[str, Any] = {"kernel_shape": [2, 2]} if op == "QLinearAveragePool" else {}
        attrs |= {"axis": 2, "opset": 13} if op == "QLinearSoftmax" else {}
        made = build.node(op, f"{left} s z s z", "made", domain=MS, **attrs)
    last = build.conv(made, "w3", (6, width), [])
    build.node("DequantizeLinear", f"{last} s z", "y")
    return build.model("y", [2, 4, 6, 6])


def compiled(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The smaller model, shown equal, and its constants."""
    result = upscale_onnx.compile(model, export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    return result.model, {t.name: numpy_helper.to_array(t) for t in result.model.graph.initializer}


# What is left of the channels behind each.
CARRIERS = {
    "QLinearAdd": 5,
    "QLinearMul": 5,
    "QLinearLeakyRelu": 5,
    "QLinearGlobalAveragePool": 5,
    "QLinearAveragePool": 5,
    "QLinearConcat": 10,
    "QLinearWhere": 5,
    "QLinearSoftmax": WIDTH,  # shares of rows of equal numbers
    "QLinearSigmoid": WIDTH,  # makes half of zero, which is no zero where the layer behind it pads
}
CONTRACTIONS = ("QLinearMatMul", "QGemm", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")


@pytest.mark.parametrize(("op", "width"), CARRIERS.items())
def test_channels_at_the_zero_point_leave(op: str, width: int) -> None:
    small, held = compiled(between(op))
    assert held["w3"].shape == (6, width, 3, 3)
    assert held["w3"].dtype == np.int8
    assert any(node.op_type == op for node in small.graph.node)


@pytest.mark.parametrize(("op", "width"), {**CARRIERS, "QLinearSigmoid": 5}.items())
def test_channels_of_other_constants_leave(op: str, width: int) -> None:
    """Rows of zeros with a bias: what a layer without padding makes of them is in its bias."""
    model = between(op)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in ("w1", "w2", "w3"):  # so small that no kernel saturates
        held[name].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held[name]) // 3, name))
        if name != "w3":
            levels = numpy_helper.to_array(held[f"{name}b"]).copy()
            levels[DEAD] = [9000, -4000, 2500]
            held[f"{name}b"].CopyFrom(numpy_helper.from_array(levels, f"{name}b"))
    held["w3"].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held["w3"])[..., :1, :1], "w3"))
    next(node for node in model.graph.node if node.output[0] == "w3y").ClearField("attribute")
    small, left = compiled(model)
    assert left["w3"].shape == (6, width, 1, 1)
    x = np.random.default_rng(1).normal(0, 30, (2, 4, 6, 6)).astype(np.float32)
    np.testing.assert_array_equal(Engine(small).run({"x": x})[0], Engine(model).run({"x": x})[0])


def test_padding_shows_what_a_constant_is() -> None:
    model = between("QLinearAdd")
    levels = next(tensor for tensor in model.graph.initializer if tensor.name == "w1b")
    levels.CopyFrom(numpy_helper.from_array(np.full(WIDTH, 9000, np.int32), "w1b"))
    assert compiled(model)[1]["w3"].shape[1] == WIDTH


@pytest.mark.parametrize(("level", "width"), [(0.4, 4), (0.5, 6), (0.6, 4), (300, 4)])
def test_a_constant_between_two_steps_is_not_taken_for_either(level: float, width: int) -> None:
    """A layer of 6 features makes two constants of `level` steps beside the zero point."""
    build = Build()
    first, second = build.weight("w1", (4, 6), [0, 1], axis=1), build.weight("w2", (6, 3), [], axis=1)
    build.held["w1b"][:2] = 1000
    build.held["w1s"][:2] = level / 1000
    made = build.node("QGemm", f"q s z {first} w1b s z", "made", domain=MS)
    last = build.node("QGemm", f"{made} s z {second} w2b s z", "last", domain=MS)
    build.node("DequantizeLinear", f"{last} s z", "y")
    _, held = compiled(build.model("y", [5, 4]))
    assert held["w2"].shape == (width, 3)


@pytest.mark.parametrize("op", CONTRACTIONS)
def test_features_at_the_zero_point_leave(op: str) -> None:
    build = Build()
    first = build.weight("w1", (4, WIDTH), DEAD, axis=1)
    second = build.weight("w2", (WIDTH, 6), [], axis=1)
    hidden = build.node("QGemm", f"q s z {first} w1b s z", "hidden", domain=MS)
    if op == "QLinearMatMul":
        build.node("DequantizeLinear", build.node(op, f"{hidden} s z {second} s z", "made") + " s z", "y")
    elif op == "QGemm":
        build.node(
            "DequantizeLinear", build.node(op, f"{hidden} s z {second} w2b s z", "made", domain=MS) + " s z", "y"
        )
    elif op == "MatMulIntegerToFloat":
        build.held["added"] = build.rng.normal(0, 1, 6).astype(np.float32)
        build.node(op, f"{hidden} w2 s w2s z w2z added", "y", domain=MS)
    else:
        values = build.node("DequantizeLinear", f"{hidden} s z", "values")
        build.node(op, f"{values} w2 w2s w2z", "y", domain=MS)
    _, held = compiled(build.model("y", [5, 4]))
    assert held["w1"].shape == (4, 5)
    assert held["w2"].shape == (5, 6)
    np.testing.assert_array_equal(held["w1s"], np.delete(build.held["w1s"], DEAD))
    assert held["w1b"].dtype == np.int32


@pytest.mark.parametrize("count", [1, 6], ids=["one scale", "scales of columns"])
def test_dynamic_quantisers_lose_channels_of_zeros(count: int) -> None:
    build = Build()
    build.held["w0"] = build.rng.normal(0, 1, (4, WIDTH)).astype(np.float32)
    build.held["w0"][:, DEAD] = 0
    build.weight("w1", (WIDTH, 6), [], axis=1)
    build.held["w1s"], build.held["w1z"] = build.held["w1s"][:count], build.held["w1z"][:count]
    build.held["w2"] = build.rng.normal(0, 1, (6, 3)).astype(np.float32)
    build.held["w2"][[0, 3]] = 0
    values = build.node("Relu", build.node("MatMul", "x w0", "h"), "values")
    build.nodes.append(helper.make_node("DynamicQuantizeLinear", [values], ["v", "vs", "vz"]))
    sums = build.node("Cast", build.node("MatMulInteger", "v w1 vz w1z", "sums"), "floats", to=TensorProto.FLOAT)
    scaled = build.node("Mul", f"{sums} {build.node('Mul', 'vs w1s', 'both')}", "scaled")
    build.node("MatMul", f"{scaled} w2", "y")
    _, held = compiled(build.model("y", [5, 4]))
    assert held["w0"].shape == (4, 5)
    assert held["w1"].shape == (5, 4)
    assert held["w2"].shape == (4, 3)


def test_a_channel_that_sets_the_range_stays() -> None:
    build = Build()
    build.weight("w1", (4, WIDTH), [], axis=1)
    build.weight("w2", (WIDTH, 6), [], axis=1)
    build.held["w2"][2] = 0  # read by nobody, but the quantiser takes its range from it
    hidden = build.node("QGemm", "q s z w1 w1s w1z w1b s z", "hidden", domain=MS)
    values = build.node("DequantizeLinear", f"{hidden} s z", "values")
    build.node("DynamicQuantizeMatMul", f"{values} w2 w2s w2z", "y", domain=MS)
    _, held = compiled(build.model("y", [5, 4]))
    assert held["w1"].shape == (4, WIDTH)


def test_a_wrong_zero_point_is_noticed() -> None:
    original = between("QLinearAdd")
    small, _ = compiled(original)
    wrong = onnx.ModelProto()
    wrong.CopyFrom(small)
    bias = next(tensor for tensor in wrong.graph.initializer if tensor.name == "w3b")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.int32(900), "w3b"))
    assert verify(original, small).equal
    assert not verify(original, wrong).equal
