"""Masks that fill blocks: channels that are emitted anyway, to fill a block, keep their original weights."""

from __future__ import annotations

import numpy as np
import onnx

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.export.planned import prepared_analysis
from upscale_onnx.masks.groups import class_groups
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.pools import Masks, Scores
from upscale_onnx.model import infer_shapes
from upscale_onnx.options import Side
from upscale_onnx.plan.emitted import emitted_classes
from upscale_onnx.types import BoolArray, FloatArray, IntArray


def filled_masks(
    model: onnx.ModelProto, masks: Masks, scores: Scores, block: int, side: Side = "input"
) -> dict[str, BoolArray]:
    """Return `masks` (by weight, True = kept, for channels of `side`) with every emitted channel count filled up to a
    multiple of `block` by the pruned channels with the highest scores.

    Without this, such a channel would be padding: its producer computes zeros, and no consumer skips them. With its
    own weights it costs the same. Channels that `masks` keeps stay kept, and no value emits more than before.
    """
    masked, pruned = write_masks(model, masks, side)
    if not pruned:
        return dict(masks)
    analysis = prepared_analysis(masked, infer_shapes(masked))
    members = [
        (weight, classes)
        for group in class_groups(analysis, masked, side)
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
    """The sum of each class's scores over the weights, after the scores of a weight are divided by its highest."""
    worth = np.zeros(analysis.live.size)
    for weight, classes in members:
        if weight not in scores:
            continue
        known = np.where(np.isfinite(scores[weight]), scores[weight], 0.0)
        np.add.at(worth, classes, known / max(float(known.max(initial=0.0)), np.finfo(np.float64).tiny))
    return worth
