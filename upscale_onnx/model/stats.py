"""Statistics of a model: parameters, multiply-accumulates, nodes, bytes copied, bytes of the file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from upscale_onnx.model.contractions import node_layout
from upscale_onnx.model.operators import CONTRACTIONS, CONVOLUTIONS, COPIES
from upscale_onnx.model.protos import element_count, inner_graphs
from upscale_onnx.model.shapes import Shape, infer_shapes
from upscale_onnx.model.sizes import elements_of, size_of
from upscale_onnx.model.stream import file_bytes
from upscale_onnx.model.tensors import model_tensors
from upscale_onnx.results import ModelStats


def model_stats(model: onnx.ModelProto, shapes: Mapping[str, Shape] | None = None) -> ModelStats:
    """The statistics of `model`. What stands in bodies of If, Loop and Scan counts once.

    Dynamic dimensions count as 1. shapes: those of the model; None infers them.
    """
    known = infer_shapes(model) if shapes is None else shapes
    parameters = sum(element_count(tensor.dims) for tensor in model_tensors(model))
    graphs = (model.graph, *inner_graphs(model.graph))
    nodes = [node for graph in graphs for node in graph.node]
    constant = {tensor.name for graph in graphs for tensor in graph.initializer}
    macs = sum(node_macs(node, known) for node in nodes)
    copied = sum(
        _bytes(known.get(name))
        for node in nodes
        if node.op_type in COPIES and not all(i in constant or not i for i in node.input)
        for name in node.output
    )
    return ModelStats(parameters, macs, len(nodes), copied, file_bytes(model))


def node_macs(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Multiply-accumulates of Conv, ConvTranspose, Gemm and MatMul; 0 for any other operator."""
    if node.op_type not in CONTRACTIONS or len(node.input) < 2:
        return 0
    first, weight, out = (shapes.get(name) for name in (node.input[0], node.input[1], node.output[0]))
    if first is None or weight is None or out is None or not first.dims or not weight.dims:
        return 0
    if node.op_type in CONVOLUTIONS:
        # The axes of the weight behind the first: the multiply-accumulates per output element of a Conv, and per
        # input element of a ConvTranspose.
        return elements_of((out if node.op_type == "Conv" else first).dims) * elements_of(weight.dims[1:])
    layout = node_layout(node, 2)
    return 0 if layout is None else elements_of(out.dims) * size_of(first.dims[layout.read_axis])


def _bytes(shape: Shape | None) -> int:
    if shape is None or shape.dtype in (0, onnx.TensorProto.STRING):
        return 0
    return elements_of(shape.dims) * int(np.dtype(helper.tensor_dtype_to_np_dtype(shape.dtype)).itemsize)
