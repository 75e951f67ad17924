"""Models: loading, saving, shapes, and the way to editable graphs and back.

The graphs are those of onnx-graphsurgeon. Beside the passes, only this package imports it.
"""

from __future__ import annotations

from onnx_graphsurgeon import Constant, Graph, Node, Variable

from upscale_onnx.model.edit import captured_names, cleanup, set_input, sort_nodes
from upscale_onnx.model.graph import export_graph
from upscale_onnx.model.importing import import_graph
from upscale_onnx.model.load import Model, load_model
from upscale_onnx.model.save import check_output, save_model
from upscale_onnx.model.shapes import Shape, infer_shapes, tensor_shape

__all__ = [
    "Constant",
    "Graph",
    "Model",
    "Node",
    "Shape",
    "Variable",
    "captured_names",
    "check_output",
    "cleanup",
    "export_graph",
    "import_graph",
    "infer_shapes",
    "load_model",
    "save_model",
    "set_input",
    "sort_nodes",
    "tensor_shape",
]
