"""Small models with whole-numbered weights, which stay bit-equal whatever the order of their sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.types import Array


class Net:
    """A model under construction: every call adds a node and returns the name of its value."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, values: Array) -> str:
        """An initializer."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def matrix(
        self, out: int, inner: int, *window: int, zero: Sequence[int] = (), reads: Sequence[int] | None = None
    ) -> Array:
        """`(out, inner, *window)`: no entry is zero but for rows in `zero` and columns that are not in `reads`."""
        shape = (out, inner, *window)
        values: Array = (self.rng.integers(1, 4, shape) * self.rng.choice([-1, 1], shape)).astype(np.float32)
        values[list(zero)] = 0
        if reads is not None:
            values[:, np.setdiff1d(np.arange(inner), reads)] = 0
        return values

    def op(self, op_type: str, inputs: str | Sequence[str], name: str, **attrs: Any) -> str:
        """Any node; the value and the node bear related names."""
        given = [inputs] if isinstance(inputs, str) else list(inputs)
        self.nodes.append(helper.make_node(op_type, given, [name], name=f"node_{name}", **attrs))
        return name

    def conv(self, source: str, name: str, weight: Array, bias: Array | None = None, **attrs: Any) -> str:
        """A Conv with weight `(C_out, C_in, *window)`."""
        given = [source, self.weight(f"{name}_w", weight)]
        if bias is not None:
            given.append(self.weight(f"{name}_b", bias.astype(np.float32)))
        return self.op("Conv", given, name, **attrs)

    def model(self, outputs: Sequence[str], **inputs: Sequence[int | str]) -> onnx.ModelProto:
        """The finished, checked model."""
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims)) for name, dims in inputs.items()],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model, full_check=True)
        return model


def whole_numbers(model: onnx.ModelProto, seed: int = 0) -> dict[str, Array]:
    """Inputs of small integers."""
    rng = np.random.default_rng(seed)
    return {
        value.name: rng.integers(-3, 4, [dim.dim_value for dim in value.type.tensor_type.shape.dim]).astype(np.float32)
        for value in model.graph.input
    }


def outputs_of(model: onnx.ModelProto, feed: Mapping[str, Array]) -> list[Array]:
    """What onnxruntime computes, without its optimisations."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, dict(feed))]


def assert_same(model: onnx.ModelProto, compiled: onnx.ModelProto) -> None:
    """Both are valid and compute the same bits, in values that are not all zero."""
    onnx.checker.check_model(compiled, full_check=True)
    feed = whole_numbers(model)
    for expected, actual in zip(outputs_of(model, feed), outputs_of(compiled, feed), strict=True):
        assert expected.any()
        np.testing.assert_array_equal(actual, expected, strict=True)


def weight_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shape of every floating-point weight by the node that reads it."""
    floats = {t.name: tuple(t.dims) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    return {
        node.name: next(floats[name] for name in node.input if name in floats)
        for node in model.graph.node
        if any(name in floats for name in node.input)
    }


def operators(model: onnx.ModelProto) -> list[str]:
    """Operator types in graph order."""
    return [node.op_type for node in model.graph.node]
