"""Shapes of the results of If nodes whose condition is known: those of what the branch returns that is taken.

ONNX's inference merges both branches. An exporter tests the rank of a value at run time, where one branch adds an axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onnx import GraphProto, NodeProto, ValueInfoProto, helper

from upscale_onnx.model.known import Constants
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.shape_folding import merged_dims
from upscale_onnx.types import Dims


def branch_shapes(
    graph: GraphProto, dims: Mapping[str, Dims], dtypes: Mapping[str, int], known: Constants
) -> Iterator[ValueInfoProto]:
    """The results whose shapes are better known than inference found."""
    for node in graph.node:
        body = _taken(node, known)
        if body is None:
            continue
        for name, returned in zip(node.output, body.output, strict=False):
            inner = dims.get(returned.name)
            merged = None if inner is None else merged_dims(dims.get(name), inner)
            if merged is not None:
                yield helper.make_tensor_value_info(name, dtypes[returned.name], merged)


def _taken(node: NodeProto, known: Constants) -> GraphProto | None:
    if node.op_type != "If" or node.domain not in STANDARD_DOMAINS or not node.input:
        return None
    condition = known.array(node.input[0])
    if condition is None or condition.size != 1:
        return None
    name = "then_branch" if condition.ravel()[0] else "else_branch"
    return next((attribute.g for attribute in node.attribute if attribute.name == name), None)
