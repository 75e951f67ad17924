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
# Quantised operators: the operator whose result has the shape and the type of theirs, and its inputs.
_SHAPED_LIKE = {
    "QLinearAdd": ("Add", slice(0, 6, 3)),
    "QLinearMul": ("Mul", slice(0, 6, 3)),
    "QLinearLeakyRelu": ("Identity", slice(1)),
    "QLinearSigmoid": ("Identity", slice(1)),
    "QLinearSoftmax": ("Identity", slice(1)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", slice(1)),
    "QLinearAveragePool": ("AveragePool", slice(1)),
    "QLinearConcat": ("Concat", slice(2, None, 3)),
    "QGemm": ("Gemm", slice(0, 6, 3)),
    "DynamicQuantizeMatMul": ("MatMul", slice(2)),
}
_CHANNELS_LAST = "channels_last"
_POINT_OF_GEMM = 8


def only_runtime_knows(node: NodeProto, opset: int) -> bool:
    """Whether `node` is of an operator that onnxruntime runs and onnx does not know at this version."""
    if node.domain not in STANDARD_DOMAINS or node.op_type not in _FIRST_KNOWN:
        return False
    first = _FIRST_KNOWN[node.op_type]
    return first is None or opset < first


def stand_in(node: NodeProto) -> bool:
    """Make a quantised operator of onnxruntime one of ONNX whose result has the same shape and type. Return whether
    there is one."""
    if node.domain != _OWN_DOMAIN or node.op_type not in _SHAPED_LIKE:
        return False
    last = any(attribute.name == _CHANNELS_LAST and attribute.i for attribute in node.attribute)
    floats = node.op_type == "QGemm" and len(node.input) <= _POINT_OF_GEMM
    if last or floats:
        return False
    node.op_type, read = _SHAPED_LIKE[node.op_type]
    node.domain = ""
    inputs = node.input[read]
    del node.input[:]
    node.input.extend(inputs)
    kept = [attribute for attribute in node.attribute if attribute.name not in (_CHANNELS_LAST, "alpha")]
    del node.attribute[:]
    node.attribute.extend([] if node.op_type == "Identity" else kept)
    return True


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
