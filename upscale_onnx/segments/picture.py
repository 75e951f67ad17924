"""The picture of a network: the places of its segments, and the channels that consumers demand and get."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.demand import demanded_positions
from upscale_onnx.channels.step import Step
from upscale_onnx.results import Claim, Consumer, Demand, Picture, Reading, Segment, Track
from upscale_onnx.results.picture import Run
from upscale_onnx.types import IntArray


def picture_of(analysis: Analysis, segments: Sequence[Segment], claims: Mapping[str, Claim] | None = None) -> Picture:
    """The picture of the analysed graph. claims: what a compiled model holds of its values; None if there is none."""
    steps = {step.op.name: place for place, step in reversed([*enumerate(analysis.steps)])}
    made = {name: place for place, step in enumerate(analysis.steps) for name in step.outputs}
    tracks = tuple(
        Track(
            segment.index,
            _places(steps, (producer.node for producer in segment.producers)),
            _places(steps, (consumer.node for consumer in segment.consumers)),
            _places(made, segment.forks),
            _places(steps, segment.joins),
        )
        for segment in segments
    )
    readings = []
    for segment in segments:
        by_value: dict[str, list[Consumer]] = defaultdict(list)
        for consumer in segment.consumers:
            by_value[consumer.value].append(consumer)
        for value, readers in by_value.items():
            nodes = [analysis.steps[steps[reader.node]] for reader in readers]
            readings.append(_reading(analysis, value, segment.index, nodes, claims))
    return Picture(len(analysis.steps), tracks, tuple(readings))


def _places(known: Mapping[str, int], names: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted({known.get(name, 0) for name in names}))  # values that no node makes come from outside


def _reading(
    analysis: Analysis, value: str, segment: int, readers: Sequence[Step], claims: Mapping[str, Claim] | None
) -> Reading:
    labels = analysis.maps[value].labels.ravel()
    demands = []
    for step in readers:
        classes = [read.sources[demanded_positions(read, analysis.live)] for read in step.flow.reads]
        found = np.isin(labels, np.concatenate(classes)) if classes else np.zeros(labels.size, bool)
        places = np.flatnonzero(found)
        demands.append(Demand(step.op.name, step.op.op_type, places.size, runs_of(places)))
    live = analysis.live[labels]
    reading = Reading(value, segment, labels.size, int(live.sum()), runs_of(np.flatnonzero(live)), tuple(demands))
    claim = None if claims is None else claims.get(value)
    if claim is None or int(np.prod(claim.sizes)) != labels.size:
        return reading
    held = np.arange(labels.size) if claim.held is None else np.asarray(claim.held, np.int64).ravel()
    used = int(live[held[held >= 0]].sum())
    return replace(reading, held=held.size, held_runs=runs_of(held), padded=held.size - used)


def runs_of(channels: IntArray) -> tuple[Run, ...]:
    """The runs of consecutive numbers in `channels`, in their order. Repeated -1 are one run of that number."""
    if not channels.size:
        return ()
    steps = np.where(channels[1:] < 0, channels[1:] == channels[:-1], channels[1:] == channels[:-1] + 1)
    steps &= (channels[:-1] >= 0) | (channels[1:] < 0)
    starts = [0, *(np.flatnonzero(~steps) + 1).tolist(), channels.size]
    return tuple((int(channels[start]), end - start) for start, end in pairwise(starts))
