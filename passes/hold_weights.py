"""Hold weights whole: their values are hidden from the analysis, so that the nodes that read them stay unchanged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from upscale_onnx.model.constants import HeldConstant
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import pinned_names, replace_uses
from upscale_onnx.passes.rewrite import Rewrite


@dataclass(frozen=True)
class HoldWeights(Pass):
    """Holds the initializers and values of Constant nodes with one of `names`, except those to which graph outputs or
    subgraphs refer."""

    names: Collection[str]
    purpose: ClassVar = "weights whose cut copies would take more bytes than the whole stay unchanged"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        graph = rewrite.graph
        pinned = pinned_names(graph)
        held = [tensor for name, tensor in graph.tensors().items() if name in self.names and name not in pinned]
        nodes = {id(node) for tensor in held for node in tensor.inputs}
        for tensor in held:
            weight = tensor if isinstance(tensor, gs.Constant) else tensor.inputs[0].attrs["value"]
            replace_uses(tensor, HeldConstant(tensor.name, weight._values))
            tensor.inputs.clear()
        graph.nodes = [node for node in graph.nodes if id(node) not in nodes]
        return Changes(len(held))
