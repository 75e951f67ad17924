"""In which numbers the layers of a model are computed."""

from __future__ import annotations

import onnx

from upscale_onnx.model.operators import CONTRACTIONS, STANDARD_DOMAINS

# In ONNX's own domain and in that of onnxruntime.
_INTEGER = frozenset(("ConvInteger", "DynamicQuantizeMatMul", "MatMulInteger", "QGemm", "QLinearConv", "QLinearMatMul"))


def arithmetic(model: onnx.ModelProto) -> str:
    """The numpy name of the type in which most layers are computed: "int8", or "float32" for all other types.

    A runtime computes a layer in integers where a DequantizeLinear stands in front of it. Bodies of nodes do not count.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    dequantised = {
        node.output[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.output and node.input and node.input[0] not in constants
    }
    integers = others = 0
    for node in graph.node:
        if node.op_type in _INTEGER:
            integers += 1
        elif node.op_type in CONTRACTIONS and node.domain in STANDARD_DOMAINS and node.input:
            integers, others = (integers + 1, others) if node.input[0] in dequantised else (integers, others + 1)
    return "int8" if integers > others else "float32"
