"""The values of a model, with their shapes for one set of inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, TypeProto, helper

from upscale_onnx.model import Shape, infer_shapes
from upscale_onnx.model.protos import set_sizes, skeleton

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


def fed_shapes(model: ModelProto, feed: Mapping[str, Any]) -> dict[str, Shape]:
    """The shapes of the main graph's values, by name, for inputs with the shapes in `feed`."""
    return infer_shapes(_with_sizes(model, feed))


def floating_values(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The values among `shapes` that are floating-point numbers."""
    return {name: shape for name, shape in shapes.items() if shape.dtype in _FLOATS}


def conditions(model: ModelProto, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The values among `shapes` that decide which branch of an If is taken. At a cut, both branches are run."""
    names = {node.input[0] for node in model.graph.node if node.op_type == "If" and node.input}
    found = {name: shapes[name] for name in names & shapes.keys()}
    return {name: shape for name, shape in found.items() if shape.dtype == TensorProto.BOOL and set(shape.dims) <= {1}}


def open_type(shape: Shape) -> TypeProto:
    """The ONNX type of a value, with open sizes along all axes."""
    return helper.make_tensor_type_proto(shape.dtype, [None] * shape.rank)


def _with_sizes(model: ModelProto, feed: Mapping[str, Any]) -> ModelProto:
    """The model without large weights, whose inputs are declared with the sizes in `feed`."""
    bare = skeleton(model)
    for value in bare.graph.input:
        if value.name in feed and value.type.HasField("tensor_type"):
            set_sizes(value.type.tensor_type.shape, np.shape(feed[value.name]))
    del bare.graph.value_info[:]  # it may be wrong, and sizes that it leaves open are known now
    for value in bare.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    return bare
