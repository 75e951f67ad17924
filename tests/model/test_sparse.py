"""Sparse initializers, dense where that takes no more bytes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.graphs import weight
from upscale_onnx.model import load_model
from upscale_onnx.types import Array


def _sparse(name: str, values: Array, by_axis: bool) -> onnx.SparseTensorProto:
    """The tensor as the values that are not zero and their indices."""
    indices = np.argwhere(values) if by_axis else np.flatnonzero(values)
    held = numpy_helper.from_array(values[values != 0], name)
    return helper.make_sparse_tensor(held, numpy_helper.from_array(indices.astype(np.int64), "i"), list(values.shape))


def _network(first: Array, by_axis: bool = False) -> onnx.ModelProto:
    """Two layers, of which the first has a sparse weight."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first"], ["a"], "a"),
            helper.make_node("Relu", ["a"], ["r"], "r"),
            helper.make_node("MatMul", ["r", "last"], ["y"], "y"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", len(first)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weight(first.shape[1], 3), "last")],
        sparse_initializer=[_sparse("first", first, by_axis)],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def _half() -> Array:
    values = np.array(weight(6, 8))
    values[:, ::2] = 0
    return values


@pytest.mark.parametrize("by_axis", [False, True])
def test_what_is_no_smaller_becomes_dense(by_axis: bool) -> None:
    model = _network(_half(), by_axis)
    before = model.SerializeToString()
    found = load_model(model)
    assert model.SerializeToString() == before
    assert not found.graph.sparse_initializer
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in found.graph.initializer}
    np.testing.assert_array_equal(held["first"], _half())


def test_what_is_smaller_stays_sparse() -> None:
    values = np.zeros((6, 8), np.float32)
    values[0, :4] = 1
    model = _network(values)
    assert load_model(model).graph.sparse_initializer == model.graph.sparse_initializer


def test_channels_of_a_sparse_weight_leave() -> None:
    model = _network(_half())
    result = upscale_onnx.compile(model, export="keep", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    shapes = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    assert shapes == {"first": (6, 4), "last": (4, 3)}
    assert result.model.ByteSize() < model.ByteSize()
