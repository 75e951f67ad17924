"""In which numbers the layers of a model are computed."""

from __future__ import annotations

import onnx

from upscale_onnx.model.operators import CONTRACTIONS, STANDARD_DOMAINS

FLOATS, INTEGERS, DEPTHWISE_INTEGERS = "float32", "int8", "int8 depthwise"
# In ONNX's own domain and in that of onnxruntime, with the input that is the weight.
_INTEGER = {
    "ConvInteger": 1, "DynamicQuantizeMatMul": 1, "MatMulInteger": 1, "QGemm": 3, "QLinearConv": 3, "QLinearMatMul": 3,
}  # fmt: skip


def arithmetic(model: onnx.ModelProto) -> str:
    """The numbers in which most layers are computed: `INTEGERS`, `DEPTHWISE_INTEGERS` where depthwise convolutions are
    among them, or `FLOATS` for all others.

    A runtime computes a layer in integers where a DequantizeLinear stands in front of it. Bodies of nodes do not count.
    """
    graph = model.graph
    dims = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    decoded = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    integers = others = 0
    depthwise = False
    for node in graph.node:
        weight = _INTEGER.get(node.op_type)
        if weight is None and (node.op_type not in CONTRACTIONS or node.domain not in STANDARD_DOMAINS):
            continue
        if weight is None and (node.input[0] not in decoded or decoded[node.input[0]] in dims):
            others += 1
            continue
        integers += 1
        name = node.input[1 if weight is None else weight]
        size = dims.get(decoded.get(name, name), [])
        depthwise |= len(size) > 2 and size[1] == 1 and any(a.name == "group" and a.i > 1 for a in node.attribute)
    if integers <= others:
        return FLOATS
    return DEPTHWISE_INTEGERS if depthwise else INTEGERS
