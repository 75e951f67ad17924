"""Evaluation of an operator on constants.

Contents of channels are never computed by formulas of our own: onnx's reference evaluator knows every
operator, its attributes and its meaning at each opset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from upscale_onnx.model import Node, Variable
from upscale_onnx.model.content import node_proto
from upscale_onnx.model.evaluate import evaluate_node
from upscale_onnx.types import Array


def evaluate(
    op_type: str, opset: int, attrs: Mapping[str, Any], inputs: Sequence[Array | None], outputs: int = 1
) -> list[Array] | None:
    """The outputs of one node of the default domain on `inputs`; None where it cannot be computed."""
    results = [Variable(f"y{index}") for index in range(outputs)]
    node = Node(op_type, attrs=dict(attrs), outputs=results)
    return evaluate_node(node_proto(node), opset, inputs)
