"""Whose fault it is where a rule fails on a node: the node's, if onnx finds that it contradicts its operator."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from upscale_onnx.channels.constants import Constants
from upscale_onnx.model import Shape
from upscale_onnx.model.contradiction import contradiction


def fault_of(node: gs.Node, graph: gs.Graph, shapes: Mapping[str, Shape], constants: Constants) -> str | None:
    """What is wrong with `node`, None where nothing is found."""
    known = {tensor.name: constants.array(tensor.name) for tensor in node.inputs}
    values = {name: value for name, value in known.items() if value is not None}
    return contradiction(OnnxExporter.export_node(node), graph.import_domains or (), shapes, values)
