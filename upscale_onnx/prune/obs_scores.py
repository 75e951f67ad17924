"""Scores by optimal brain surgeon, which fits layers to calibration data."""

from __future__ import annotations

from functools import partial

from upscale_onnx.masks.pools import Scores
from upscale_onnx.prune.evidence import Evidence
from upscale_onnx.prune.judging import harm_on
from upscale_onnx.repair.choose import obs_scores
from upscale_onnx.repair.costs import obs_costs


def obs_scores_in(evidence: Evidence) -> Scores:
    """By weight, what each channel costs: the layer's outputs, or, where layers are ranked together, the network's."""
    model, batches, threads = evidence.model, evidence.batches, evidence.threads
    if evidence.options.prune.scope == "local":
        return obs_scores(model, batches, threads)
    return obs_costs(model, batches, partial(harm_on, model, threads=threads), threads)
