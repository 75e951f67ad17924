"""Remove the nodes on which no output of the graph depends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from upscale_onnx.model import cleanup
from upscale_onnx.model.edit import unread_nodes
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.properties import Property
from upscale_onnx.passes.rewrite import Rewrite


def _unread(rewrite: Rewrite) -> str:
    return next((f"no output depends on node '{node.name}'" for node in unread_nodes(rewrite.graph)), "")


ALL_READ = Property("an output depends on every node", _unread)


@dataclass(frozen=True)
class RemoveUnread(Pass):
    """Removes nodes on which no output depends. Values that subgraphs capture count as read."""

    purpose: ClassVar = "nodes on which no output depends are removed"
    requires: ClassVar = ()
    ensures: ClassVar = (ALL_READ,)

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        return Changes(cleanup(rewrite.graph))
