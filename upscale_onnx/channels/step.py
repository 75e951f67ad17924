"""One analysed node."""

from __future__ import annotations

from dataclasses import dataclass, replace

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Flow, Role, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.model import Node
from upscale_onnx.types import IntArray


@dataclass(frozen=True, eq=False)
class Step:
    """A node, its read-only view, the rule that applies to it, and how channels flow through it.

    inputs, outputs: names ("" where absent); inputs include the values that subgraphs capture. maps: the channel
    map of each input, None for constants and unknown ranks.
    """

    node: Node
    op: Op
    rule: Rule
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    maps: tuple[ChannelMap | None, ...]
    flow: Flow

    @property
    def barrier(self) -> bool:
        """Whether no rule looks through the node."""
        return self.flow.role is Role.BARRIER

    def resolved(self, roots: IntArray) -> Step:
        """This step with each class id replaced by its root."""
        maps = tuple(None if found is None else found.resolved(roots) for found in self.maps)
        return replace(self, maps=maps, flow=self.flow.resolved(roots))
