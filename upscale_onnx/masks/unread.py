"""Channels that all layers have lost, and that other nodes still read: what makes them loses them, too.

A maximum over channels reads all of them, say. It does without a channel of zeros, but no mask of a layer that reads
the channel makes zeros of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.step import Step
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.pools import Masks
from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.shared_weights import weight_of
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.types import BoolArray


def without_unread(model: onnx.ModelProto, masks: Masks) -> onnx.ModelProto:
    """Return `model`, into which `masks` of inputs are written, with zeros also in the rows that make the channels that
    all layers have lost by them, where these channels then leave."""
    before = analyse(import_graph(model), infer_shapes(model))
    unread = before.live & _unread(before, masks)
    prunable = {target.weight for target in prunable_targets(model, "output")} if unread.any() else set()
    unread &= ~_made_by_others(before, prunable)
    while unread.any():
        zeroed = write_masks(model, _rows(before, unread), "output")[0]
        stays = unread & analyse(import_graph(zeroed), infer_shapes(zeroed)).live
        if not stays.any():
            return zeroed
        unread &= ~stays
    return model


def _unread(analysis: Analysis, masks: Masks) -> BoolArray:
    """Marks the classes that layers read by nothing but zeros, some of which `masks` have written."""
    lost, read = np.zeros((2, analysis.live.size), np.bool_)
    for step in analysis.steps:
        name = weight_of(step)
        for one in step.flow.reads if name else ():
            used = np.ones(one.sources.size, np.bool_) if one.known is None else one.known.read_by()
            read[one.sources[used]] = True
        if name in masks:
            sources = np.concatenate([one.sources for one in step.flow.reads])
            lost[sources[~masks[name]] if sources.size == masks[name].size else sources[:0]] = True
    return np.asarray(lost & ~read)


def _made_by_others(analysis: Analysis, weights: Collection[str]) -> BoolArray:
    """Marks the classes that something else than rows of `weights` makes."""
    made, others = np.zeros((2, analysis.live.size), np.bool_)
    for step, out in _created(analysis):
        (made if weight_of(step) in weights and len(out.axes) == 1 else others)[out.labels] = True
    return np.asarray(others | ~made)


def _rows(analysis: Analysis, gone: BoolArray) -> Masks:
    """Masks, of outputs, without the channels in `gone`."""
    masks: dict[str, BoolArray] = {}
    for step, out in _created(analysis):
        if gone[out.labels].any():
            kept = ~gone[out.labels.ravel()]
            masks[weight_of(step)] = masks.get(weight_of(step), kept) & kept
    return masks


def _created(analysis: Analysis) -> Iterator[tuple[Step, ChannelMap]]:
    """The nodes that create channels, and the map of what each makes."""
    for step in analysis.steps:
        out = step.flow.outputs[0] if step.flow.creates else None
        if out is not None:
            yield step, out
