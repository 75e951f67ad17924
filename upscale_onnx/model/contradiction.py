"""Nodes that contradict their operator: the checker accepts each attribute and input alone, but not all fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import ModelProto, NodeProto, OperatorSetIdProto, helper, numpy_helper

from upscale_onnx.model.protos import SMALL_ELEMENTS, one_line
from upscale_onnx.model.shapes import Shape
from upscale_onnx.types import Array
from upscale_onnx.worker.checks import infer


def contradiction(
    node: NodeProto, opsets: Sequence[OperatorSetIdProto], shapes: Mapping[str, Shape], values: Mapping[str, Array]
) -> str | None:
    """What is wrong with `node` by onnx's own rules, None where they find nothing.

    shapes: of its inputs and outputs, as far as known. values: of its constant inputs.
    """
    inputs = [_declared(name, shapes, values) for name in dict.fromkeys(node.input) if name]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    small = {name: value for name, value in values.items() if value.size <= SMALL_ELEMENTS}
    weights = [numpy_helper.from_array(value, name) for name, value in small.items() if name in node.input]
    graph = helper.make_graph([node], "one", inputs, outputs, weights)
    model: ModelProto = helper.make_model(graph, opset_imports=opsets)
    found = infer(model.SerializeToString(), strict=True)
    return one_line(found) if isinstance(found, str) else None


def _declared(name: str, shapes: Mapping[str, Shape], values: Mapping[str, Array]) -> onnx.ValueInfoProto:
    if name in values:
        value = values[name]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
    if name not in shapes:
        return onnx.ValueInfoProto(name=name)
    return helper.make_tensor_value_info(name, shapes[name].dtype, shapes[name].dims)
