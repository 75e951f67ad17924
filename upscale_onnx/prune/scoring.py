"""The scores of channels by the criterion that options name."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.pools import Scores
from upscale_onnx.options import Options
from upscale_onnx.prune.criteria import criterion_of
from upscale_onnx.prune.evidence import Evidence, Scorer
from upscale_onnx.runtime.activations import sample_count
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.samples import load_labels


def scorer(options: Options, batches: Sequence[Inputs], model: onnx.ModelProto) -> Scorer:
    """What scores channels by the criterion of `options`. About `model` itself it is asked often, and works once:
    scores can take minutes.

    Raises, where it is asked: ArgumentError where the criterion lacks what it needs.
    """
    known: list[Scores] = []

    def score(asked: onnx.ModelProto) -> Scores:
        if asked is not model:
            return _scored(asked, options, batches)
        if not known:
            known.append(_scored(model, options, batches))
        return known[0]

    return score


def _scored(model: onnx.ModelProto, options: Options, batches: Sequence[Inputs]) -> Scores:
    chosen, data, labels = criterion_of(options.prune.criterion), options.prune.calibration, None
    if chosen.needs_data and (data is None or not batches):
        name = repr(chosen.name) if isinstance(options.prune.criterion, str) else chosen.name
        raise ArgumentError(f"criterion {name} needs calibration data: --calibration data.npz")
    if options.prune.side not in chosen.sides:
        raise ArgumentError(f"criterion {chosen.name!r} scores what layers read: use side 'input'")
    if data is not None and "labels" in chosen.needs:
        labels = load_labels(data, model, sample_count(batches))
    evidence = Evidence(model, options, batches, labels)
    found = chosen.score(evidence)
    return {weight: found[weight] for weight in evidence.targets if weight in found}
