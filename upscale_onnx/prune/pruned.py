"""A pruned model, and which of its channels can come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx.masks.apply import used_channels
from upscale_onnx.masks.pools import Masks, Scores
from upscale_onnx.masks.targets import constant_tensors, mask_targets, weight_uses
from upscale_onnx.options import Side
from upscale_onnx.plan.standing import Standing
from upscale_onnx.types import BoolArray, IntArray


@dataclass(frozen=True, eq=False)
class Pruned:
    """A model with channels zeroed.

    model: the masked model. count: how many channels masks prune. dense: the model before it was masked, whose weights
    can come back. scores: scores of channels by weight, which tell which channels come back first. finished: a function
    that repairs a masked copy of `dense`; None where no repair is left to do. final: whether no channel comes back.
    """

    model: onnx.ModelProto
    count: int
    dense: onnx.ModelProto
    scores: Scores = field(default_factory=dict)
    finished: Callable[[onnx.ModelProto], onnx.ModelProto] | None = None
    final: bool = False


def kept_masks(masked: onnx.ModelProto, dense: onnx.ModelProto, side: Side) -> Masks:
    """Masks by weight (True = kept): channels of `side` that are not zero in `masked`, or are zero in `dense` too."""
    before, after = constant_tensors(dense), constant_tensors(masked)
    kept: dict[str, BoolArray] = {}
    for target in mask_targets(dense):
        if target.axis(side) is not None and target.weight in after:
            arrays = (numpy_helper.to_array(tensors[target.weight]) for tensors in (before, after))
            was, still = (used_channels(array, target.axis(side)) for array in arrays)
            kept[target.weight] = still | ~was
    return kept


def with_standing(kept: Masks, model: onnx.ModelProto, left: Standing, side: Side) -> Masks:
    """Add to `kept` the channels that an export of `model` leaves in every layer that uses the weight."""
    uses, there = weight_uses(model), left.reads if side == "input" else left.creates
    grown: dict[str, BoolArray] = {}
    for weight, mask in kept.items():
        used = [_marked(mask.size, there.get(name)) for name in uses.get(weight, ())]
        grown[weight] = mask | np.logical_and.reduce(used) if used else mask
    return grown


def _marked(size: int, indices: IntArray | None) -> BoolArray:
    marked = np.zeros(size, np.bool_)
    if indices is not None and indices.size and indices[-1] < size:
        marked[indices] = True
    return marked
