"""Weights behind a DequantizeLinear with a scale for each block: whole blocks leave, the rest is stored as it was."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from upscale_onnx.types import Array

BLOCK, FEATURES, INNER, OUT = 16, 32, 128, 24
INT4 = np.dtype(ml_dtypes.int4)


def model_of(first: Array, second: Array, axes: tuple[int, int], points: bool, turned: bool) -> onnx.ModelProto:
    """Two MatMuls with weights `(inputs, outputs)` in blocks along `axes`; the second one is stored transposed if
    `turned`."""
    rng = np.random.default_rng(1)
    nodes, held = [], dict[str, Array]()
    for name, steps, axis in (("a", first, axes[0]), ("b", second.T if turned else second, axes[1])):
        shape = [-(-size // BLOCK) if at == axis else size for at, size in enumerate(steps.shape)]
        held |= {name: steps, f"{name}s": rng.uniform(0.01, 0.02, shape).astype(np.float32)}
        inputs = [name, f"{name}s"]
        if points:
            point = rng.integers(-2, 3, shape).astype(np.int8)
            whole = np.repeat(point, BLOCK, axis).take(np.arange(steps.shape[axis]), axis)
            held |= {f"{name}p": point.astype(steps.dtype), name: (steps.astype(np.int8) + whole).astype(steps.dtype)}
            inputs.append(f"{name}p")
        nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}w"], axis=axis, block_size=BLOCK))
    nodes += [helper.make_node("MatMul", ["x", "aw"], ["h"]), helper.make_node("Relu", ["h"], ["r"])]
    nodes += [helper.make_node("Transpose", ["bw"], ["bt"], perm=[1, 0])] if turned else []
    nodes += [helper.make_node("MatMul", ["r", "bt" if turned else "bw"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", first.shape[0]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", OUT])
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(a, name) for name, a in held.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def narrowed(model: onnx.ModelProto) -> dict[str, Array]:
    """The constants of the compiled model, which is shown equal."""
    result = upscale_onnx.compile(model, export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert sum(node.op_type == "DequantizeLinear" for node in result.model.graph.node) == 2
    return constants(result.model)


def random_steps(dtype: np.dtype[Any], *shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(-5, 6, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [INT4, np.dtype(np.int8)], ids=str)
@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_blocks_of_inputs_leave(dtype: np.dtype[Any], points: bool, turned: bool) -> None:
    first, second = random_steps(dtype, FEATURES, INNER), random_steps(dtype, INNER, OUT)
    first[:, 2 * BLOCK : 3 * BLOCK] = 0
    second[4 * BLOCK : 6 * BLOCK] = 0
    model = model_of(first, second, (0, 1 if turned else 0), points, turned)
    small, before = narrowed(model), constants(model)
    left = np.setdiff1d(np.arange(INNER), [*range(2 * BLOCK, 3 * BLOCK), *range(4 * BLOCK, 6 * BLOCK)])
    blocks = [0, 1, 3, 6, 7]
    axis = 1 if turned else 0
    for name, part in (("a", ""), ("b", ""), ("a", "s"), ("b", "s"), *([("a", "p"), ("b", "p")] if points else [])):
        kept = left if name == "a" or not part else blocks
        expected = before[name + part].take(kept, 1 if name == "a" else axis)
        assert small[name + part].dtype == expected.dtype
        np.testing.assert_array_equal(small[name + part], expected)


def test_blocks_of_outputs_leave() -> None:
    first, second = random_steps(INT4, FEATURES, INNER), random_steps(INT4, INNER, OUT)
    second[[*range(BLOCK), 2 * BLOCK]] = 0
    small = narrowed(model_of(first, second, (1, 1), False, False))
    # The channel beside the dead block shares scales with others, and only the reader does without it.
    assert small["a"].shape == (FEATURES, INNER - BLOCK)
    assert small["as"].shape == (FEATURES, INNER // BLOCK - 1)
    assert small["b"].shape == (INNER - BLOCK - 1, OUT)


def test_a_last_block_of_fewer_inputs_leaves_or_stays() -> None:
    inner = INNER - 4
    for gone in (range(BLOCK), range(INNER - BLOCK, inner)):
        first, second = random_steps(INT4, FEATURES, inner), random_steps(INT4, inner, OUT)
        second[list(gone)] = 0
        small = narrowed(model_of(first, second, (0, 0), True, False))
        assert small["a"].shape == (FEATURES, inner - len(gone))
        assert small["bs"].shape == (INNER // BLOCK - 1, OUT)


def test_a_weight_that_a_result_shows_stays_whole() -> None:
    first, second = random_steps(INT4, FEATURES, INNER), random_steps(INT4, INNER, OUT)
    second[:BLOCK] = 0
    model = model_of(first, second, (0, 0), False, False)
    model.graph.output.append(helper.make_tensor_value_info("bw", TensorProto.FLOAT, [INNER, OUT]))
    assert narrowed(model)["b"].shape == (INNER, OUT)
