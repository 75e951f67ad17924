"""The effect of pruning on a model: the distance of its outputs, and its accuracy where there are labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.measures.data import unlabelled
from upscale_onnx.measures.measure import Distance, Top1
from upscale_onnx.options import Options
from upscale_onnx.results import PruningEffect
from upscale_onnx.runtime.activations import sample_count, value_batches
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.place import Place
from upscale_onnx.runtime.providers import resolve_provider
from upscale_onnx.runtime.samples import load_calibration, load_labels
from upscale_onnx.runtime.user_inputs import load_inputs
from upscale_onnx.types import IntArray

_MOST_SAMPLES = 1024


def pruning_effect(original: ModelProto, compiled: ModelProto, options: Options) -> PruningEffect:
    """Measure how `compiled` differs from `original`, the unpruned model.

    It is measured on the calibration data of `options`, or else on their inputs, or else on random inputs.

    Raises:
        ArgumentError: a label in the calibration data is not one of the model's classes.
    """
    place = Place(resolve_provider(options.target.provider), options.target.threads)
    try:
        data, distance = _distance(original, options, place)
        found = PruningEffect(data, distance.samples, distance.value(compiled))
    except ModelError as error:
        return PruningEffect(detail=f"not measured: {error}")
    return found if options.prune.calibration is None else _with_accuracy(found, original, compiled, distance, options)


def _distance(original: ModelProto, options: Options, place: Place) -> tuple[str, Distance]:
    if options.prune.calibration is not None:
        batches = load_calibration(options.prune.calibration, original)
        return "calibration data", Distance.of(original, _some(batches), place)
    if options.proof.inputs is not None:
        return "the inputs given", Distance.of(original, [load_inputs(options.proof.inputs, original)], place)
    return "random inputs", unlabelled(original, limit=_MOST_SAMPLES, seed=options.prune.seed, place=place)


def _some(batches: tuple[Inputs, ...]) -> tuple[Inputs, ...]:
    return batches[: max(_MOST_SAMPLES // max(sample_count(batches[:1]), 1), 1)]


def _with_accuracy(
    found: PruningEffect, original: ModelProto, compiled: ModelProto, distance: Distance, options: Options
) -> PruningEffect:
    """`found`, completed with the accuracy on the same samples if the calibration data has labels."""
    assert options.prune.calibration is not None
    try:
        labels = load_labels(options.prune.calibration, original, distance.samples)
    except ArgumentError as error:
        return PruningEffect(found.data, found.samples, found.distance, detail=f"accuracy not measured: {error}")
    if labels is None:
        return found
    name = original.graph.output[0].name
    shape = next(value_batches(original, [name], distance.batches[:1], options.target.threads))[name].shape
    if sum(size > 1 for size in shape[1:]) != 1:
        detail = f"accuracy not measured: output {name!r} of shape {shape} is not (samples, classes)"
        return PruningEffect(found.data, found.samples, found.distance, detail=detail)
    top1 = Top1.of(original, _labelled(distance.batches, labels), distance.where)
    return PruningEffect(found.data, found.samples, found.distance, top1.baseline, top1.value(compiled))


def _labelled(batches: Sequence[Inputs], labels: IntArray) -> list[tuple[Inputs, IntArray]]:
    ends = np.cumsum([sample_count([batch]) for batch in batches])
    return list(zip(batches, np.split(labels, ends[:-1]), strict=True))
