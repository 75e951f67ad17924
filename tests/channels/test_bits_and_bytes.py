"""MatMulBnb4 between layers: outputs leave one by one, inputs in whole blocks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.channels.engine import Engine
from upscale_onnx.types import Array

FEATURES, BLOCK, WIDTH = 32, 16, 24
INNER = 3 * BLOCK
ZERO = {0: 8, 1: 7}  # the code of a zero (of FP4, the one with a sign), by type


def layer(name: str, outputs: int, inputs: int, kind: int, dead: list[int], unread: list[int]) -> dict[str, Array]:
    """The weight and its scales: rows `dead` and columns `unread` are zeros."""
    rng = np.random.default_rng(outputs)
    codes = rng.integers(0, 16, (outputs, inputs))
    codes[dead], codes[:, unread] = ZERO[kind], ZERO[kind]
    pairs = codes.reshape(-1, 2)
    scales = rng.uniform(0.5, 1, outputs * inputs // BLOCK).astype(np.float32)
    return {f"{name}w": (pairs[:, 0] << 4 | pairs[:, 1]).astype(np.uint8), f"{name}s": scales}


def node(name: str, source: str, outputs: int, inputs: int, kind: int) -> onnx.NodeProto:
    """The operator."""
    attrs = {"N": outputs, "K": inputs, "block_size": BLOCK, "quant_type": kind}
    return helper.make_node(
        "MatMulBnb4", [source, f"{name}w", f"{name}s"], [f"{name}y"], domain="com.microsoft", **attrs
    )


@pytest.mark.parametrize("kind", [0, 1])
def test_outputs_and_blocks_of_inputs_leave(kind: int) -> None:
    gone, unread = [*range(BLOCK, 2 * BLOCK), 3], [1, 4]
    held = layer("a", INNER, FEATURES, kind, gone, []) | layer("b", WIDTH, INNER, kind, [], [7])
    held["wl"] = np.random.default_rng(0).normal(size=(WIDTH, 3)).astype(np.float32)
    held["wl"][unread] = 0
    nodes = [
        node("a", "x", INNER, FEATURES, kind),
        helper.make_node("Relu", ["ay"], ["r"]),
        node("b", "r", WIDTH, INNER, kind),
        helper.make_node("MatMul", ["by", "wl"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", FEATURES])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(v, k) for k, v in held.items()])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    result = upscale_onnx.compile(model, export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    left = {tensor.name.split("_")[0]: numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer}
    rows = np.setdiff1d(np.arange(INNER), range(BLOCK, 2 * BLOCK))
    np.testing.assert_array_equal(left["aw"].reshape(rows.size, -1), held["aw"].reshape(INNER, -1)[rows])
    blocks = held["bs"].reshape(WIDTH, -1)
    np.testing.assert_array_equal(left["bs"].reshape(WIDTH - 2, -1), np.delete(np.delete(blocks, 1, 1), unread, 0))
    feed = {"x": np.random.default_rng(4).normal(size=(5, FEATURES)).astype(np.float32)}
    np.testing.assert_allclose(Engine(result.model).run(feed)[0], Engine(model).run(feed)[0], rtol=1e-4, atol=1e-3)
