"""Pruning quantised models: masks are those of the dequantised weights, zeros are zero points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import upscale_onnx
from upscale_onnx.masks.float_view import float_view
from upscale_onnx.types import Array

WIDTHS = (3, 16, 12, 5)


def network() -> onnx.ModelProto:
    """Two convolutions and a Gemm."""
    rng = np.random.default_rng(0)
    shapes = [(WIDTHS[1], WIDTHS[0], 3, 3), (WIDTHS[2], WIDTHS[1], 3, 3), (WIDTHS[3], WIDTHS[2])]
    held = {f"w{number}": rng.normal(0, 0.2, shape) for number, shape in enumerate(shapes)}
    held |= {f"b{number}": rng.normal(size=shape[0]) for number, shape in enumerate(shapes)}
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("GlobalAveragePool", ["r1"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], transB=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", WIDTHS[3]])
    weights = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in held.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Batches(CalibrationDataReader):  # type: ignore[misc]
    """Four random batches."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self._left = [{"x": rng.normal(size=(2, 3, 8, 8)).astype(np.float32)} for _ in range(4)]

    def get_next(self) -> dict[str, Array] | None:
        return self._left.pop() if self._left else None


def quantised(folder: Path, form: QuantFormat, per_channel: bool) -> onnx.ModelProto:
    """The network as onnxruntime quantises it."""
    onnx.save(network(), folder / "float.onnx")
    quantize_static(
        folder / "float.onnx", folder / "quantised.onnx", Batches(), quant_format=form, per_channel=per_channel,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return onnx.load(folder / "quantised.onnx")


def weights(model: onnx.ModelProto) -> dict[str, Array]:
    """The quantised weights and biases, by the names of those that they were quantised from."""
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name.split("_")[0]: a for name, a in held.items() if a.dtype in (np.int8, np.int32) and a.ndim}


@pytest.mark.parametrize("form", list(QuantFormat), ids=str)
@pytest.mark.parametrize("per_channel", [False, True])
def test_as_much_leaves_as_of_the_network_before(tmp_path: Path, form: QuantFormat, per_channel: bool) -> None:
    model = quantised(tmp_path, form, per_channel)
    found = upscale_onnx.compile(model, amount=0.5, side="output", export="gather", align=1, race=False)
    plain = upscale_onnx.compile(network(), amount=0.5, side="output", export="gather", align=1, race=False)
    assert found.report.verification is not None
    assert found.report.verification.equal
    expected = {tensor.name: tuple(tensor.dims) for tensor in plain.model.graph.initializer}
    small = weights(found.model)
    assert {name: small[name].shape for name in ("w0", "w1", "w2")} == {n: expected[n] for n in ("w0", "w1", "w2")}
    assert small["w0"].shape[0] == WIDTHS[1] // 2
    assert all(small[name].dtype == np.int8 for name in ("w0", "w1", "w2"))
    assert small["b0"].dtype == np.int32
    # What is left is what was there.
    before = weights(model)
    assert {row.tobytes() for row in small["b0"]} <= {row.tobytes() for row in before["b0"]}


def test_zeros_are_zero_points(tmp_path: Path) -> None:
    model = quantised(tmp_path, QuantFormat.QDQ, False)
    for tensor in model.graph.initializer:  # the same weights, with another zero point and type
        array = numpy_helper.to_array(tensor)
        if tensor.name in ("w0_quantized", "w0_zero_point"):
            tensor.CopyFrom(numpy_helper.from_array((array.astype(np.int32) + 128).astype(np.uint8), tensor.name))
    view = float_view(model)
    assert view is not None
    masked = onnx.ModelProto()
    masked.CopyFrom(view.model)
    tensor = next(tensor for tensor in masked.graph.initializer if tensor.name == "w0_quantized")
    values = numpy_helper.to_array(tensor).copy()
    values[[2, 5]] = 0
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    held = {one.name: numpy_helper.to_array(one) for one in view.written(masked).graph.initializer}
    before = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    assert (held["w0_quantized"][[2, 5]] == 128).all()
    np.testing.assert_array_equal(
        np.delete(held["w0_quantized"], [2, 5], 0), np.delete(before["w0_quantized"], [2, 5], 0)
    )
    assert all(np.array_equal(held[name], before[name]) for name in before if name != "w0_quantized")


def test_models_without_quantised_weights_have_no_view() -> None:
    assert float_view(network()) is None


@pytest.mark.parametrize("form", list(QuantFormat), ids=str)
def test_channels_that_fill_blocks_keep_their_weights(tmp_path: Path, form: QuantFormat) -> None:
    model = quantised(tmp_path, form, False)
    found = upscale_onnx.compile(model, amount=0.4, side="output", export="gather", align=4, race=False)
    rows = weights(found.model)["w0"]
    assert len(rows) == 12
    first = found.report.profile[0]
    assert (first.unit, first.kept, first.channels) == ("channels", 12, WIDTHS[1])
    assert rows.reshape(12, -1).any(1).all()
    assert found.report.masked_channels == (WIDTHS[1] - 12) + WIDTHS[2] - len(weights(found.model)["w1"])


def few_bits(bits: int, symmetric: bool) -> onnx.ModelProto:
    """Two layers of few bits, as onnxruntime quantises them, in blocks of 16 inputs."""
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    rng = np.random.default_rng(3)
    held = {"w1": rng.normal(size=(32, 96)), "w2": rng.normal(size=(96, 32)) * rng.uniform(0.1, 1, (96, 1))}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 32]) for name in "xy")
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["h"]), helper.make_node("Relu", ["h"], ["r"])]
    nodes.append(helper.make_node("MatMul", ["r", "w2"], ["y"]))
    weights = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in held.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    config = DefaultWeightOnlyQuantConfig(block_size=16, is_symmetric=symmetric, bits=bits)
    quantiser = MatMulNBitsQuantizer(model, algo_config=config)
    quantiser.process()
    made: onnx.ModelProto = quantiser.model.model
    return made


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_blocks_of_inputs_go_as_a_whole(bits: int, symmetric: bool) -> None:
    model = few_bits(bits, symmetric)
    found = upscale_onnx.compile(model, amount=0.4, export="gather", align=1, race=False, ignore=("*w1*",))
    assert found.report.verification is not None
    assert found.report.verification.equal
    attrs = [{one.name: one.i for one in node.attribute} for node in found.model.graph.node if node.domain]
    left = 96 - 32  # 38 of 96 inputs were to go: two blocks
    assert [(one["K"], one["N"]) for one in attrs] == [(32, left), (left, 32)]
    # The bytes that are left are those of the model.
    before, after = ({t.name: numpy_helper.to_array(t) for t in one.graph.initializer} for one in (model, found.model))
    name = next(name for name in before if name.startswith("w2") and before[name].ndim == 3)
    blocks = {block.tobytes() for block in before[name].transpose(1, 0, 2)}
    assert {block.tobytes() for block in after[name].transpose(1, 0, 2)} < blocks
