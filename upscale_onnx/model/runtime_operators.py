"""Operators that onnxruntime has in the default domain, but onnx does not, or not yet. Optimised models hold them.

onnx's checker refuses a model with such an operator, and its shape inference stops there.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto

from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.protos import iter_nodes

# The first version of the operator set in which onnx has the operator too, None if there is none.
_FIRST_KNOWN = {"SimplifiedLayerNormalization": None, "LayerNormalization": 17}
_OWN_DOMAIN = "com.microsoft"


def only_runtime_knows(node: NodeProto, opset: int) -> bool:
    """Whether `node` is of an operator that onnxruntime runs and onnx does not know at this version."""
    if node.domain not in STANDARD_DOMAINS or node.op_type not in _FIRST_KNOWN:
        return False
    first = _FIRST_KNOWN[node.op_type]
    return first is None or opset < first


def set_apart(model: ModelProto) -> ModelProto:
    """Move these operators of `model` into onnxruntime's own domain, which the checker skips. Return `model`."""
    opset = default_opset(model)
    nodes = [node for node in iter_nodes(model.graph) if only_runtime_knows(node, opset)]
    for node in nodes:
        node.domain = _OWN_DOMAIN
    if nodes and not any(entry.domain == _OWN_DOMAIN for entry in model.opset_import):
        model.opset_import.add(domain=_OWN_DOMAIN, version=1)
    return model


def default_opset(model: ModelProto) -> int:
    """The version of the default operator set that `model` imports."""
    return next((entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS), 1)
