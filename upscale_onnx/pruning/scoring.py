"""The scores of channels by the criterion that options name."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.pools import Scores
from upscale_onnx.options import Options
from upscale_onnx.pruning.criteria import criterion_of
from upscale_onnx.pruning.evidence import Evidence
from upscale_onnx.runtime.activations import sample_count
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.samples import load_labels


def scores_of(model: onnx.ModelProto, options: Options, batches: Sequence[Inputs]) -> Scores:
    """One score by the criterion of `options` for each channel of the side that is pruned, by weight.

    Raises: ArgumentError where the criterion lacks what it needs.
    """
    chosen, data = criterion_of(options.prune.criterion), options.prune.calibration
    if chosen.needs_data and (data is None or not batches):
        name = repr(chosen.name) if isinstance(options.prune.criterion, str) else chosen.name
        raise ArgumentError(f"criterion {name} needs calibration data: --calibration data.npz")
    if options.prune.side not in chosen.sides:
        scored = {"input": "what layers read", "output": "what layers make"}[chosen.sides[0]]
        raise ArgumentError(f"criterion {chosen.name!r} scores {scored}: use side {chosen.sides[0]!r}")
    labelled = data if "labels" in chosen.needs else None
    labels = None if labelled is None else load_labels(labelled, model, sample_count(batches))
    evidence = Evidence(model, options, batches, labels)
    found = chosen.score(evidence)
    return {weight: found[weight] for weight in evidence.targets if weight in found}
