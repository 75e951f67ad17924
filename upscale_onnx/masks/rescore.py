"""The network between two rounds of pruning: weights that its compile would not keep are zero."""

from __future__ import annotations

import numpy as np
import onnx

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.channels.channel_map import is_constant
from upscale_onnx.channels.step import Step
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.targets import mask_targets
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import Side
from upscale_onnx.types import BoolArray


def without_idle(model: onnx.ModelProto, side: Side) -> onnx.ModelProto:
    """Return `model`, which is masked on `side`, with zeros also in weights of the other side that have become idle:
    rows of channels that no node reads, or columns of channels that hold a constant.

    Criteria then do not count these weights. With side "output" the result is for scoring only, since constants other
    than zero are dropped with their columns.
    """
    analysis = analyse(import_graph(model), infer_shapes(model))
    names = {target.node: target for target in mask_targets(model)}
    other: Side = "output" if side == "input" else "input"
    masks: dict[str, BoolArray] = {}
    for step, needed in zip(analysis.steps, analysis.needed, strict=True):
        target = names.get(step.op.name)
        if not needed or target is None or target.axis(other) is None:
            continue
        used = _read(step, analysis.live) if other == "output" else _varies(step)
        if used is not None and used.size == target.channels(other) and not used.all():
            masks[target.weight] = used
    return write_masks(model, masks, other)[0] if masks else model


def _read(step: Step, live: BoolArray) -> BoolArray | None:
    """For each channel that the node creates, whether a node reads it."""
    out = step.flow.outputs[0] if step.flow.outputs and step.flow.creates else None
    return None if out is None or len(out.axes) != 1 else np.asarray(live[out.labels.ravel()])


def _varies(step: Step) -> BoolArray | None:
    """For each channel that the node reads, whether it varies."""
    if step.flow.dense is None and not step.is_grouped:
        return None
    found = step.maps[step.flow.reads[0].input]
    return None if found is None or len(found.axes) != 1 else ~is_constant(found.state.ravel())
