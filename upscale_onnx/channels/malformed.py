"""Finding whether a rule failed because the node is malformed: onnx says whether it contradicts its operator."""

from __future__ import annotations

from collections.abc import Mapping

from upscale_onnx.model import Graph, Node, Shape
from upscale_onnx.model.content import node_proto
from upscale_onnx.model.contradiction import contradiction
from upscale_onnx.model.known import Constants
from upscale_onnx.model.operators import STANDARD_DOMAINS


def fault_of(node: Node, graph: Graph, shapes: Mapping[str, Shape], constants: Constants) -> str | None:
    """What is wrong with `node`; None where onnx finds nothing. Operators that onnx does not know may have attributes
    of any type, and nothing else would notice."""
    if node.domain not in STANDARD_DOMAINS:
        return f"onnx does not check operators of the domain {node.domain}"
    known = {tensor.name: constants.array(tensor.name) for tensor in node.inputs}
    values = {name: value for name, value in known.items() if value is not None}
    return contradiction(node_proto(node), graph.import_domains or (), shapes, values)
