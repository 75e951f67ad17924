"""One analysed node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Flow, Role, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.model import Node
from upscale_onnx.model.operators import STANDARD_DOMAINS
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

    @property
    def is_grouped(self) -> bool:
        """Whether the node is a contraction of several groups of channels, all of which are told apart."""
        several = bool(self.flow.evens) and self.flow.creates and self.flow.role is Role.CONTRACTION
        if not several or int(self.op.attrs.get("group", 1)) < 2 or self.op.domain not in STANDARD_DOMAINS:
            return False
        return all(np.unique(part).size == part.size for part in self.flow.evens[0].parts)

    def resolved(self, roots: IntArray, maps: Mapping[str, ChannelMap]) -> Step:
        """This step with each class id replaced by its root. maps: those of all values, with roots."""
        given = tuple(None if found is None else maps[name] for name, found in zip(self.inputs, self.maps, strict=True))
        made = zip(self.outputs, self.flow.outputs, strict=True)
        outputs = tuple(None if f is None else maps[name] if name else f.resolved(roots) for name, f in made)
        return replace(self, maps=given, flow=self.flow.resolved(roots, outputs))
