"""A profile of what layers may lose together.

A scan prunes one layer alone. The loss of several layers together can be more than the sum of their losses. So the
amounts of all layers are scaled by one factor: the largest, found by bisection, at which the loss is tolerated.
"""

from __future__ import annotations

import glob

from onnx import ModelProto

from upscale_onnx.masks.float_view import viewed
from upscale_onnx.masks.kept import kept_channels
from upscale_onnx.measures.measure import Measure
from upscale_onnx.options import Options
from upscale_onnx.pruning.prune import prune
from upscale_onnx.results import KeptChannels, Sensitivity, Together
from upscale_onnx.types import Progress

_HALVINGS = 6


def pruned_together(
    model: ModelProto,
    measure: Measure,
    found: Sensitivity,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Together:
    """What the layers of a scan keep when all are pruned together and the loss is still tolerated.

    found: a scan of `model`.
    options: the options of the scan.

    Raises: ArgumentError where data that the criterion needs is missing.
    """
    wanted = options or Options()
    tell = progress or (lambda stage, fraction: None)
    scanned = {layer.weight for layer in found.layers}
    known: dict[tuple[int, ...], float] = {}

    def pruned(factor: float) -> tuple[tuple[KeptChannels, ...], float]:
        amounts = tuple((glob.escape(layer.weight), factor * layer.largest_amount) for layer in found.layers)
        masked = prune(model, wanted.replaced(amount=None, amounts=amounts, masks="flat")).model
        profile = tuple(kept for kept in kept_channels(viewed(masked), wanted.prune.side) if kept.weight in scanned)
        counts = tuple(kept.kept for kept in profile)
        if counts not in known:
            known[counts] = measure.loss(measure.value(masked))
        return profile, known[counts]

    tell("all layers together", 0.0)
    profile, alone = pruned(1.0)
    if alone <= found.tolerated:
        return Together(1.0, alone, alone, profile)
    profile, loss = pruned(0.0)
    low, high = 0.0, 1.0
    for step in range(_HALVINGS):
        tell("all layers together", (step + 1) / (_HALVINGS + 1))
        middle = (low + high) / 2
        trial, lost = pruned(middle)
        if lost <= found.tolerated:
            low, profile, loss = middle, trial, lost
        else:
            high = middle
    return Together(low, alone, loss, profile)
