"""Which weights must agree on a mask when pruning is constrained: those that share channel classes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.classes import Classes
from upscale_onnx.channels.step import Step
from upscale_onnx.masks.targets import mask_targets
from upscale_onnx.model.operators import RECURRENT
from upscale_onnx.options import Side
from upscale_onnx.types import IntArray


def mask_groups(analysis: Analysis, model: onnx.ModelProto, side: Side) -> list[list[tuple[str, IntArray]]]:
    """Groups of `(weight, class id per channel of `side`)`; weights of one group share classes.

    Weights whose channels have no class of their own (they read a graph input, say) are in no group.
    """
    targets = mask_targets(model)
    weights = {target.node: target.weight for target in targets if target.axis(side) is not None}
    known = {target.weight for target in targets}
    members: list[tuple[str, IntArray]] = []
    joined = Classes()
    joined.fresh(analysis.live.size)
    for step in analysis.steps:
        labelled = _of_recurrent(step, side) if step.op.op_type in RECURRENT else _labels(step, side)
        for weight, labels in labelled:
            name = weight or weights.get(step.op.name, "")
            if name not in known or np.unique(labels).size < 2:
                continue
            members.append((name, labels))
            joined.unite(labels, labels[:1])
    groups: dict[int, list[tuple[str, IntArray]]] = defaultdict(list)
    for weight, labels in members:
        groups[int(joined.find(labels[:1])[0])].append((weight, labels))
    return list(groups.values())


def _labels(step: Step, side: Side) -> list[tuple[str, IntArray]]:
    """Class ids of the channels that the node reads or creates, for its only weight, which is not named."""
    if step.flow.dense is None:
        return []
    out = step.flow.outputs[0]
    if side == "input":
        return [("", step.flow.dense.sources)]
    return [] if out is None or len(out.axes) != 1 else [("", out.labels.ravel())]


def _of_recurrent(step: Step, side: Side) -> list[tuple[str, IntArray]]:
    """The weights of a recurrent node that reads the sequence in one direction, with the class ids of what each reads:
    channels of the sequence, and its own hidden units."""
    if side != "input" or step.barrier or step.op.attrs.get("direction") == "bidirectional":
        return []
    return [(step.inputs[index], read.sources) for index, read in zip((1, 2), step.flow.reads, strict=False)]
