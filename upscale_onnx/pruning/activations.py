"""Scores from the values that channels hold over calibration data, gathered batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import onnx

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.masks.criteria.activation import ActivationCriterion
from upscale_onnx.masks.mask_model import weight_array
from upscale_onnx.masks.pools import Scores
from upscale_onnx.masks.targets import constant_tensors, inner_targets
from upscale_onnx.model.bodies import all_nodes
from upscale_onnx.model.contractions import node_layout
from upscale_onnx.model.operators import ACTIVATIONS
from upscale_onnx.pruning.evidence import Evidence
from upscale_onnx.runtime.activations import value_batches
from upscale_onnx.types import Array, FloatArray

# Operators between a layer and the value that scores the layer's channels.
_BEHIND = ACTIVATIONS | {"BatchNormalization", "PRelu"}


@dataclass(frozen=True)
class Observed:
    """A value whose channels score a weight. axis: the axis of its channels."""

    value: str
    axis: int


Places: TypeAlias = Mapping[str, Observed]
"""The value whose channels score each weight, by weight."""


def activation_scores(criterion: ActivationCriterion, evidence: Evidence) -> Scores:
    """One score per channel for each weight of `observed`.

    Raises: ArgumentError where the criterion does not return one number per channel.
    """
    return over_observed(evidence, partial(_scores, criterion, evidence))


def over_observed(evidence: Evidence, score: Callable[[Places], Scores]) -> Scores:
    """The scores that `score` makes of the values of `observed`, without those in bodies where onnxruntime cannot
    return these: rounds of a Loop may make values of several sizes."""
    places = observed(evidence)
    inner = {target.weight for target in inner_targets(evidence.model, evidence.targets.values())}
    try:
        return score(places)
    except ModelError:
        if inner.isdisjoint(places):
            raise
        return score({weight: place for weight, place in places.items() if weight not in inner})


def _scores(criterion: ActivationCriterion, evidence: Evidence, places: Places) -> Scores:
    totals: dict[Observed, FloatArray] = {}
    samples = Counter[Observed]()
    names = list(dict.fromkeys(place.value for place in places.values()))
    for values in value_batches(evidence.model, names, evidence.batches, evidence.threads):
        for place in dict.fromkeys(places.values()):
            if not values[place.value].size:
                continue  # a branch that was not taken
            maps = np.moveaxis(values[place.value], place.axis, 1)
            measured = _measured(criterion, maps)
            totals[place] = totals[place] + measured if place in totals else measured
            samples[place] += maps.shape[0]
    tensors = constant_tensors(evidence.model)
    scores = {}
    for weight, place in places.items():
        if place not in totals:
            continue
        target, side = evidence.targets[weight], evidence.side
        axis = target.axis(side)
        assert axis is not None
        turned = target.turned(weight_array(tensors[weight]), side)
        scores[weight] = criterion.score(turned, axis, totals[place], samples[place])
    return scores


def observed(evidence: Evidence) -> dict[str, Observed]:
    """For each weight, the value that holds the scored channels: the input of its node, or its activated output.

    Weights whose channels are no axis of one value are left out.
    """
    nodes = all_nodes(evidence.model)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in evidence.model.graph.output}
    found: dict[str, Observed] = {}
    for node in nodes:
        target = evidence.targets.get(node.input[1]) if len(node.input) > 1 else None
        layout = None if target is None else node_layout(node, len(target.shape))
        if target is None or layout is None or target.weight in found:
            continue
        if layout.read_axis == layout.made_axis:  # otherwise the axis of the channels may be that of the samples
            name = node.input[0] if evidence.side == "input" else _activated(node.output[0], readers, outputs)
            found[target.weight] = Observed(name, layout.made_axis)
    return found


def _measured(criterion: ActivationCriterion, maps: Array) -> FloatArray:
    measured = np.asarray(criterion.measure(maps), np.float64)
    if measured.shape != (maps.shape[1],):
        raise ArgumentError(
            f"the criterion returns an array of shape {measured.shape} for {maps.shape[1]} channels: it must be one"
            " number for each"
        )
    return measured


def _activated(name: str, readers: Mapping[str, list[onnx.NodeProto]], outputs: set[str]) -> str:
    while name not in outputs:
        found = readers.get(name, [])
        if len(found) != 1 or found[0].op_type not in _BEHIND or found[0].input[0] != name:
            break
        name = found[0].output[0]
    return name
