"""Masks that fill blocks: channels that are emitted anyway, to fill a block, keep their original weights."""

from __future__ import annotations

import numpy as np
import onnx

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.masks.groups import mask_groups
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.pools import Masks, Scores
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import Side
from upscale_onnx.plan.emitted import emitted_classes
from upscale_onnx.types import BoolArray, FloatArray, IntArray


def filled_masks(
    model: onnx.ModelProto, masks: Masks, scores: Scores, block: int, side: Side = "input"
) -> dict[str, BoolArray]:
    """`masks` (by weight, True = kept, of channels of `side`) with every emitted channel count filled up to a multiple
    of `block` by pruned channels of the highest scores.

    Such a channel would come back as padding of zeros: computed by its producer, and skipped by nobody. With its own
    weights it costs the same. What is kept by `masks` stays kept, and no value emits more than before.
    """
    masked, pruned = write_masks(model, masks, side)
    if not pruned:
        return dict(masks)
    analysis = analyse(import_graph(masked), infer_shapes(masked))
    members = [
        (weight, classes)
        for group in mask_groups(analysis, masked, side)
        for weight, classes in group
        if weight in masks
    ]
    emitted = emitted_classes(analysis, block, worth=_worth(analysis, members, scores))
    padding = emitted.kept & ~emitted.live
    filled = dict(masks)
    for weight, classes in members:
        filled[weight] = filled[weight] | padding[classes]
    return filled


def _worth(analysis: Analysis, members: list[tuple[str, IntArray]], scores: Scores) -> FloatArray:
    """Per class, the scores that the weights give it; each weight's are taken relative to its highest."""
    worth = np.zeros(analysis.live.size)
    for weight, classes in members:
        if weight not in scores:
            continue
        known = np.where(np.isfinite(scores[weight]), scores[weight], 0.0)
        np.add.at(worth, classes, known / max(float(known.max(initial=0.0)), np.finfo(np.float64).tiny))
    return worth
