"""Put nodes back that were replaced so that channels could leave them, where none left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from upscale_onnx.model import Shape
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import replace_nodes
from upscale_onnx.passes.rewrite import Rewrite


@dataclass(frozen=True)
class CloseOpenings(Pass):
    """Puts a node back where those that took its place are as they were."""

    purpose: ClassVar = "nodes come back whose replacements are as they were"
    requires: ClassVar = ()
    ensures: ClassVar = ()

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        instead: dict[int, Sequence[gs.Node]] = {}
        gone: dict[str, Shape | None] = {}
        for opening in rewrite.done.opened:
            inner = [value.name for node in opening.nodes[:-1] for value in node.outputs]
            if opening.close():
                instead |= {id(node): () for node in opening.nodes[:-1]} | {id(opening.nodes[-1]): (opening.node,)}
                gone |= dict.fromkeys(inner)
        replace_nodes(rewrite.graph, instead)
        return Changes(len(instead), gone)
