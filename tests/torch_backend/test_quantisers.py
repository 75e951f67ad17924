"""QuantizeLinear and DequantizeLinear in PyTorch: values of onnxruntime, and the gradient of the identity."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.graphs import run
from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array

torch = pytest.importorskip("torch")

X = np.linspace(-2, 2, 24).reshape(2, 3, 4).astype(np.float32)


def network(scale: Array, point: Array | None, **attrs: Any) -> onnx.ModelProto:
    """Quantises `x` and takes the numbers back."""
    names = ["s", *(["p"] if point is not None else [])]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *names], ["q"], **attrs),
        helper.make_node("DequantizeLinear", ["q", *names], ["y"], **attrs),
    ]
    held = [
        numpy_helper.from_array(array, name)
        for array, name in zip((scale, point), "sp", strict=True)
        if array is not None
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, X.shape) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@pytest.mark.parametrize(("scale", "point", "attrs"), [
    (np.float32(0.1), np.uint8(10), {}),
    (np.float32(0.013), np.int8(-3), {}),
    (np.float32(0.1), None, {}),
    (np.array([0.1, 0.02, 0.5], np.float32), np.array([0, 3, -5], np.int8), {"axis": 1}),
    (np.array([0.1, 0.02], np.float32), np.array([100, 3], np.uint8), {"axis": -3}),
], ids=["one", "negative", "no point", "channels", "first axis"])  # fmt: skip
def test_values_are_those_of_onnxruntime(scale: Any, point: Any, attrs: dict[str, Any]) -> None:
    from upscale_onnx.torch_backend.network import TorchNetwork
    from upscale_onnx.torch_backend.values import array

    model = network(np.asarray(scale), None if point is None else np.asarray(point), **attrs)
    found = array(TorchNetwork(model).run({"x": X})["y"])
    np.testing.assert_allclose(found, run(model, {"x": X})[0], atol=1e-6)


def test_rounding_has_the_gradient_of_the_identity_and_clipping_has_none() -> None:
    from upscale_onnx.torch_backend.network import TorchNetwork

    model = network(np.asarray(0.01, np.float32), np.asarray(0, np.int8))
    x = torch.from_numpy(X).requires_grad_()

    def given(name: str, value: Any, reader: str) -> Any:
        return x if name == "x" else value

    TorchNetwork(model).run({"x": X}, given)["y"].sum().backward()
    np.testing.assert_allclose(x.grad, (X >= -1.28) & (X <= 1.27), atol=1e-5)


def test_blocks_are_refused() -> None:
    from upscale_onnx.torch_backend.network import TorchNetwork

    model = network(np.full((2, 3, 2), 0.1, np.float32), None, axis=2, block_size=2)
    with pytest.raises(ArgumentError, match="no gradient for QuantizeLinear with blocks"):
        TorchNetwork(model).run({"x": X})
