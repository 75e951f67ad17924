"""Let convolutions pad by themselves: a Pad that surrounds what they read with zeros becomes part of their own padding.

A constant channel with zeros around it is no constant. Without the Pad it is one, and those that a Conv reads merge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.pad import pads_of
from upscale_onnx.channels.step import Step
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.rewrite import Rewrite

_SPATIAL = 2  # the first axis that a Conv pads


@dataclass(frozen=True)
class AbsorbPads(Pass):
    """Moves the amounts of a Pad into the convolutions that read it."""

    purpose: ClassVar = "a Pad by zeros becomes part of the convolutions that read it"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        moved = 0
        for step in rewrite.analysis.steps:
            amounts = _amounts(step)
            if amounts is None:
                continue
            readers = {id(reader): reader for reader in step.node.outputs[0].outputs}
            for reader in readers.values():
                moved += _absorb(reader, step.node, amounts)
        return Changes(moved)


def _amounts(step: Step) -> list[int] | None:
    """How many zeros a Pad puts in front of each spatial axis, then behind each; None for every other node."""
    dims = step.op.in_dims[0] if step.op.op_type == "Pad" and not step.barrier else None
    if dims is None or len(dims) <= _SPATIAL:
        return None
    try:
        before, after, value, mode, unknown = pads_of(step.op, len(dims))
    except Refused:
        return None
    if mode != "constant" or value != 0 or unknown or min(*before, *after) < 0:
        return None
    if any(before[:_SPATIAL]) or any(after[:_SPATIAL]):
        return None
    return [*before[_SPATIAL:], *after[_SPATIAL:]]


def _absorb(reader: gs.Node, pad: gs.Node, amounts: list[int]) -> int:
    """Let a convolution pad by itself. Returns how many nodes changed."""
    padded, weight = pad.outputs[0], reader.inputs[1:2]
    if reader.op != "Conv" or reader.domain or reader.inputs[0] is not padded or weight == [padded]:
        return 0
    if reader.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return 0
    own = reader.attrs.get("pads") or [0] * len(amounts)
    if len(own) != len(amounts):
        return 0
    reader.attrs.pop("auto_pad", None)
    reader.attrs["pads"] = [int(a) + int(b) for a, b in zip(own, amounts, strict=True)]
    reader.inputs[0] = pad.inputs[0]
    return 1
