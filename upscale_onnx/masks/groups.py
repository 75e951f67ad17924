"""Which weights must agree on a mask when pruning is constrained: those that share units of channels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.classes import Classes
from upscale_onnx.channels.step import Step
from upscale_onnx.masks.grouped import GROUPS, OF_EACH_GROUP
from upscale_onnx.masks.pools import Groups
from upscale_onnx.masks.shared_weights import weight_of
from upscale_onnx.masks.targets import mask_targets, weight_uses
from upscale_onnx.masks.units import is_batched, neurons_of, units_of
from upscale_onnx.model.operators import RECURRENT
from upscale_onnx.options import Method, Side
from upscale_onnx.types import IntArray


def agree(model: onnx.ModelProto, method: Method) -> bool:
    """Whether there may be `mask_groups`."""
    if method == "constrained" or _several_uses(model):
        return True
    return any(target.is_grouped for target in mask_targets(model))


def mask_groups(
    analysis: Analysis, model: onnx.ModelProto, side: Side, method: Method = "constrained"
) -> list[list[tuple[str, IntArray]]]:
    """Groups of `(weight, unit id per channel of `side`)`; weights of one group share units.

    Weights whose channels have no class of their own (they read a graph input, say) are in no group. Unless `method` is
    "constrained", only those are in one that could not choose for themselves: what reads or creates channels of grouped
    convolutions, none of which leaves alone, and weights of several uses, with what shares their channels.
    """
    found = units_of(analysis)
    groups = _groups(analysis, model, side, found.ids)
    shared = _several_uses(model)
    tied = np.isin(found.names, (GROUPS, OF_EACH_GROUP)) | (method == "constrained")
    return [group for group in groups if any(name in shared or tied[units].any() for name, units in group)]


def _several_uses(model: onnx.ModelProto) -> set[str]:
    return {weight for weight, nodes in weight_uses(model).items() if len(nodes) > 1}


def unit_names(analysis: Analysis, groups: Groups) -> dict[str, str]:
    """What the units of each weight in the `mask_groups` are called."""
    names = units_of(analysis).names
    return {weight: str(names[units[0]]) for group in groups for weight, units in group}


def class_groups(analysis: Analysis, model: onnx.ModelProto, side: Side) -> list[list[tuple[str, IntArray]]]:
    """As `mask_groups`, with the class id of each channel."""
    return _groups(analysis, model, side, np.arange(analysis.live.size))


def _groups(
    analysis: Analysis, model: onnx.ModelProto, side: Side, units: IntArray
) -> list[list[tuple[str, IntArray]]]:
    targets = mask_targets(model)
    weights = {target.node: target.weight for target in targets if target.axis(side) is not None}
    known = {target.weight for target in targets}
    members: dict[str, IntArray] = {}
    for step in analysis.steps:
        labelled = _of_recurrent(step, side) if step.op.op_type in RECURRENT else _labels(step, side)
        for weight, classes in labelled:
            labels = units[classes]
            name = weight or weights.get(step.op.name) or weight_of(step)
            # Of several uses, that which tells most channels apart: a state may start with zeros.
            if name in known and np.unique(labels).size > max(np.unique(members.get(name, labels[:0])).size, 1):
                members[name] = labels
    joined = Classes()
    joined.fresh(analysis.live.size)
    for labels in members.values():
        joined.unite(labels, labels[:1])
    groups: dict[int, list[tuple[str, IntArray]]] = defaultdict(list)
    for weight, labels in members.items():
        groups[int(joined.find(labels[:1])[0])].append((weight, labels))
    return list(groups.values())


def _labels(step: Step, side: Side) -> list[tuple[str, IntArray]]:
    """Class ids of the channels that the node reads or creates, for its only weight, which is not named. Of several
    matrices in one weight, those of the first; of neurons that are the same for all channels, those of the first."""
    if step.is_grouped:
        parts = step.flow.evens[0].parts
        return [("", parts[0 if side == "input" else 1].ravel())]
    several = is_batched(step) or neurons_of(step) is not None
    first = step.flow.reads[0] if several else step.flow.dense
    if first is None:
        return []
    if side == "input":
        return [("", first.sources)]
    made = first.targets if several else _made(step)
    return [] if made is None else [("", made)]


def _made(step: Step) -> IntArray | None:
    """Class ids of what the node creates along the only axis of channels."""
    out = step.flow.outputs[0]
    return None if out is None or len(out.axes) != 1 else out.labels.ravel()


def _of_recurrent(step: Step, side: Side) -> list[tuple[str, IntArray]]:
    """The weights of a recurrent node, with the class ids of what each reads: channels of the sequence, and its own
    hidden units, of two directions those of the first."""
    if side != "input" or step.barrier:
        return []
    sequence, own, *_ = step.flow.reads
    directions = 2 if step.op.attrs.get("direction") == "bidirectional" else 1
    return [(step.inputs[1], sequence.sources), (step.inputs[2], own.sources[: own.sources.size // directions])]
