"""Quantisers of onnxruntime's own domain, which has types of 16 bits before ONNX has."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.channels.engine import Engine
from upscale_onnx.types import Array

MS, WIDTH, DEAD, OPSET = "com.microsoft", 8, [1, 4, 5], 17


def network(weights: type[np.generic]) -> onnx.ModelProto:
    """Two convolutions of weights of this type; the first one makes dead channels, and each of two that read it reads
    half of the others."""
    rng = np.random.default_rng(3)
    held: dict[str, Array] = {"s": np.float32(0.01), "z": np.uint16(30000)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], domain=MS)]

    def conv(source: str, name: str, channels: tuple[int, int], silent: list[int], unread: list[int]) -> None:
        values = rng.integers(-100, 101, (*channels, 3, 3))
        values[silent], values[:, unread] = 0, 0
        held[name], held[f"{name}s"] = values.astype(weights), rng.uniform(0.001, 0.002, channels[0]).astype(np.float32)
        held[f"{name}z"] = np.zeros(channels[0], weights)
        nodes.append(helper.make_node("DequantizeLinear", [source, "s", "z"], [f"{name}x"], domain=MS))
        inputs = [name, f"{name}s", f"{name}z"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}w"], domain=MS, axis=0))
        nodes.append(helper.make_node("Conv", [f"{name}x", f"{name}w"], [f"{name}y"], pads=[1] * 4))
        nodes.append(helper.make_node("QuantizeLinear", [f"{name}y", "s", "z"], [f"{name}q"], domain=MS))

    conv("q", "a", (WIDTH, 4), DEAD, [])
    conv("aq", "b", (6, WIDTH), [], [0, 2])
    conv("aq", "c", (6, WIDTH), [], [3, 6])
    for name in ("b", "c"):
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}q", "s", "z"], [f"{name}r"], domain=MS))
    nodes.append(helper.make_node("Add", ["br", "cr"], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4, 5, 5])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 6, 5, 5])
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in held.items()]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MS, 1)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], stored), opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize("weights", [np.int8, np.int16])
def test_channels_leave(weights: type[np.generic]) -> None:
    model = network(weights)
    result = upscale_onnx.compile(model, export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer}
    assert [held[name].shape for name in "abc"] == [(5, 4, 3, 3), (6, 3, 3, 3), (6, 3, 3, 3)]
    assert {held[name].dtype for name in "abc"} == {np.dtype(weights)}
    assert {node.domain for node in result.model.graph.node if "Linear" in node.op_type} == {MS}
    feed = {"x": np.random.default_rng(0).normal(size=(2, 4, 5, 5)).astype(np.float32)}
    np.testing.assert_allclose(Engine(result.model).run(feed)[0], Engine(model).run(feed)[0], atol=0.0201)


@pytest.mark.parametrize("weights", [np.int8, np.int16])
def test_masks_reach_the_weights(weights: type[np.generic]) -> None:
    pruned = upscale_onnx.compile(network(weights), amount=0.75, race=False, align=1).model
    first = next(tensor for tensor in pruned.graph.initializer if tensor.name == "a")
    assert first.dims[0] < WIDTH - len(DEAD)
