"""Channels that nothing depends on, made zero where they come from, too."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.masks.apply import used_channels
from upscale_onnx.masks.mask_model import weight_array, write_masks
from upscale_onnx.masks.targets import constant_roots, constant_tensors, mask_targets, used_names, weight_uses
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.model.bodies import all_nodes
from upscale_onnx.model.operators import FRAGILE
from upscale_onnx.types import BoolArray


def silenced(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """`model` with zeros also in the rows that make what only zeros read, behind an operator that may make infinities
    of numbers; None where there are no such rows.

    Infinity times zero is no number. With zeros in the readers alone, a smaller model is equal only as long as nothing
    overflows. With zeros in the rows, too, nothing does.
    """
    if not any(node.op_type in FRAGILE for node in all_nodes(model)):
        return None
    masks = _masks(model, analyse(import_graph(model), infer_shapes(model)))
    return write_masks(model, masks, "output")[0] if masks else None


def _masks(model: onnx.ModelProto, analysis: Analysis) -> dict[str, BoolArray]:
    """Masks (True = kept) by weight, of its output side, for weights that lose rows other than zeros."""
    tensors, uses, idle = constant_tensors(model), weight_uses(model), _idle(analysis)
    roots = constant_roots(all_nodes(model), tensors)
    reads = Counter(roots.get(name, name) for name in used_names(model.graph))
    masks: dict[str, BoolArray] = {}
    for target in mask_targets(model):
        results = uses.get(target.weight, ())
        if target.output_axis is None or reads[target.weight] != len(results):
            continue
        silent = [_silent(analysis, name, idle, target.channels("output")) for name in results]
        kept = ~np.logical_and.reduce(silent)
        if (used_channels(weight_array(tensors[target.weight]), target.output_axis) & ~kept).any():
            masks[target.weight] = kept
    return masks


def _idle(analysis: Analysis) -> BoolArray:
    """For each class, whether nothing depends on it though an operator that may make infinities reads it."""
    found = np.zeros(analysis.live.size, np.bool_)
    for step in analysis.steps:
        if step.op.op_type in FRAGILE:
            for channels in step.maps:
                if channels is not None:
                    found[channels.labels.ravel()] = True
    return found & ~analysis.live


def _silent(analysis: Analysis, name: str, idle: BoolArray, channels: int) -> BoolArray:
    """Which channels of a value are idle; none where its channels are not those along a single axis."""
    found = analysis.maps.get(name)
    if found is None or len(found.axes) != 1 or found.labels.size != channels:
        return np.zeros(channels, np.bool_)
    return np.asarray(idle[found.labels.ravel()])
