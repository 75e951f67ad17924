"""A pruned model, and which of its channels can come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx.masks.apply import used_channels
from upscale_onnx.masks.float_view import FloatView
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.pools import Masks, Scores
from upscale_onnx.masks.targets import constant_tensors, mask_targets, weight_uses
from upscale_onnx.masks.unread import without_unread
from upscale_onnx.options import Side
from upscale_onnx.plan.standing import Standing
from upscale_onnx.types import BoolArray, IntArray


@dataclass(frozen=True, eq=False)
class Pruned:
    """A model with channels zeroed.

    model: the masked model. count: how many channels masks prune. dense: the model before it was masked, whose weights
    can come back. scores: scores of channels by weight, which tell which channels come back first. finished: a function
    that repairs a masked copy of `dense`; None where no repair is left to do. view: that of the quantised model, if
    `dense` is the view of one. notes: a line for each thing that was not pruned or repaired, and why.
    """

    model: onnx.ModelProto
    count: int
    dense: onnx.ModelProto
    scores: Scores = field(default_factory=dict)
    finished: Callable[[onnx.ModelProto], onnx.ModelProto] | None = None
    view: FloatView | None = None
    notes: tuple[str, ...] = ()

    def with_masks(self, masks: Masks, side: Side) -> onnx.ModelProto:
        """The model that only `masks` prune."""
        masked, _ = write_masks(self.dense, masks, side)
        masked = masked if side == "output" else without_unread(masked, masks)
        return masked if self.view is None else self.view.written(masked)


def kept_masks(pruned: Pruned, side: Side) -> Masks:
    """Masks by weight (True = kept): channels of `side` that are not zero in the pruned model, or were zero before."""
    dense, masked = pruned.dense, pruned.model if pruned.view is None else pruned.view.read(pruned.model)
    before, after = constant_tensors(dense), constant_tensors(masked)
    kept: dict[str, BoolArray] = {}
    for target in mask_targets(dense):
        if target.axis(side) is not None and target.weight in after:
            arrays = (numpy_helper.to_array(tensors[target.weight]) for tensors in (before, after))
            was, still = (used_channels(target.turned(array, side), target.axis(side)) for array in arrays)
            kept[target.weight] = still | ~was
    return kept


def count_pruned(kept: Masks) -> int:
    """How many channels `kept` prunes."""
    return sum(int((~mask).sum()) for mask in kept.values())


def with_standing(kept: Masks, pruned: Pruned, left: Standing, side: Side) -> Masks:
    """Add to `kept` the channels that an export of the pruned model leaves in every layer that uses the weight."""
    uses, there = weight_uses(pruned.dense), left.reads if side == "input" else left.creates
    view = pruned.view
    grown: dict[str, BoolArray] = {}
    for weight, mask in kept.items():
        products = uses.get(weight, ())
        layers = products if view is None else [view.layer(weight, product, side) for product in products]
        used = [_marked(mask.size, there.get(name)) for name in layers]
        grown[weight] = mask | np.logical_and.reduce(used) if used else mask
    return grown


def _marked(size: int, indices: IntArray | None) -> BoolArray:
    marked = np.zeros(size, np.bool_)
    if indices is not None and indices.size and indices[-1] < size:
        marked[indices] = True
    return marked
