"""Windows of convolutions and pools with sizes that no operator can have.

Libraries divide by them without a check: onnx before 1.22 and onnxruntime before 1.28 crash at a stride of 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import ModelProto, NodeProto

from upscale_onnx.model.protos import iter_nodes, nodes_within

_POSITIVE = ("strides", "dilations", "kernel_shape", "group")
_DOMAINS = ("", "ai.onnx", "com.microsoft")


def window_problem(model: ModelProto) -> str:
    """What is wrong with a window in the graphs or functions of `model`; empty if nothing is."""
    return next((problem for node in _nodes(model) if (problem := _problem(node))), "")


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    yield from iter_nodes(model.graph)
    for function in model.functions:
        yield from nodes_within(function.node)


def _problem(node: NodeProto) -> str:
    if node.domain not in _DOMAINS:
        return ""
    for attribute in node.attribute:
        values = (*attribute.ints, attribute.i) if attribute.HasField("i") else tuple(attribute.ints)
        if attribute.name in _POSITIVE and any(value < 1 for value in values):
            return f"node '{node.name}' ({node.op_type}) has {attribute.name} {list(values)}: they must be at least 1"
    return ""
