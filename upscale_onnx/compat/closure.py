"""Masks from single pruned channels, and the fewest further channels that make all layers agree on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.masks.groups import class_groups
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.outputs import reach_of_outputs
from upscale_onnx.masks.targets import MaskTarget, mask_targets
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import Side
from upscale_onnx.types import BoolArray, IntArray

Pairs = Sequence[tuple[str, int]]
Masks = dict[str, BoolArray]
Labels = dict[str, IntArray]


def with_pruned(
    model: onnx.ModelProto, pruned_inputs: Pairs, pruned_outputs: Pairs, constrained: bool
) -> onnx.ModelProto:
    """A copy of `model` with zeros for the input and output channels that (weight, channel) pairs name.

    constrained: whether all other layers that read or create one of these channels lose it as well. They keep
        channels that leave the network.

    Raises: ArgumentError where there is no such weight or channel.
    """
    targets = {target.weight: target for target in mask_targets(model)}
    reads, creates = _masks(pruned_inputs, targets, "input"), _masks(pruned_outputs, targets, "output")
    if constrained:
        _grow(model, reads, creates)
    masked, _ = write_masks(model, reads, "input")
    return write_masks(masked, creates, "output")[0]


def _masks(pairs: Pairs, targets: Mapping[str, MaskTarget], side: Side) -> Masks:
    masks: Masks = {}
    for weight, channel in pairs:
        target = targets.get(weight)
        if target is None:
            raise ArgumentError(_unknown(weight, targets))
        count = target.channels(side)
        if not 0 <= channel < count:
            raise ArgumentError(f"{weight!r} has {count} {side} channels to prune: there is no channel {channel}")
        masks.setdefault(weight, np.ones(count, np.bool_))[channel] = False
    return masks


def _unknown(weight: str, known: Iterable[str]) -> str:
    hint = did_you_mean(weight, known)
    return f"no Conv, ConvTranspose, Gemm or MatMul has a constant floating-point weight {weight!r}{hint}"


def _grow(model: onnx.ModelProto, reads: Masks, creates: Masks) -> None:
    """Extend both masks: all channels of a class are pruned if one of them is."""
    analysis = analyse(import_graph(model), infer_shapes(model))
    sides = ((reads, _labels(analysis, model, "input")), (creates, _labels(analysis, model, "output")))
    gone = np.zeros(analysis.live.size, np.bool_)
    for masks, labels in sides:
        for weight, kept in masks.items():
            if weight in labels:
                gone[labels[weight][~kept]] = True
    gone &= ~reach_of_outputs(analysis).classes
    for masks, labels in sides:
        for weight, classes in labels.items():
            if gone[classes].any():
                masks[weight] = masks.get(weight, np.ones(classes.size, np.bool_)) & ~gone[classes]


def _labels(analysis: Analysis, model: onnx.ModelProto, side: Side) -> Labels:
    """The class of each channel, by the name of the weight."""
    return {weight: classes for group in class_groups(analysis, model, side) for weight, classes in group}
