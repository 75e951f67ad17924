"""Find segments: nodes joined by the channel classes of the values between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.channel_map import is_constant
from upscale_onnx.channels.classes import Classes
from upscale_onnx.channels.demand import demanded_positions
from upscale_onnx.channels.flow import Role
from upscale_onnx.channels.step import Step
from upscale_onnx.results import Consumer, Producer, Refusal, Segment


@dataclass
class _Parts:
    producers: list[Producer] = field(default_factory=list)
    carriers: list[str] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)
    joins: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


def find_segments(analysis: Analysis, refusals: Sequence[Refusal] | None = None) -> tuple[Segment, ...]:
    """The segments of the analysed graph, in graph order. Values without channel axes are in none. refusals: those of
    the analysis, with what they cost, if that is known."""
    homes = _homes(analysis)
    parts: dict[int, _Parts] = defaultdict(_Parts)
    refused = {
        (refusal.node, refusal.op_type): refusal for refusal in (analysis.refusals if refusals is None else refusals)
    }
    for step in analysis.steps:
        _place(analysis, step, homes, parts, refused)
    readers: dict[str, int] = defaultdict(int)
    for step in analysis.steps:
        for name in step.inputs:
            readers[name] += 1
    for name, index in homes.items():
        if index in parts:
            parts[index].values.append(name)
    return tuple(
        _segment(analysis, index, part, readers)
        for index, part in enumerate(part for part in parts.values() if part.producers or part.consumers)
    )


def _homes(analysis: Analysis) -> dict[str, int]:
    """Per value with channels, its segment, named by the least class id in it."""
    labels = {name: found.labels.ravel() for name, found in analysis.maps.items() if found.has_channels}
    if not labels:
        return {}
    firsts = np.array([array[0] for array in labels.values()])
    joined = Classes()
    joined.fresh(analysis.live.size)
    joined.unite(np.concatenate(list(labels.values())), firsts.repeat([array.size for array in labels.values()]))
    return dict(zip(labels, joined.find(firsts).tolist(), strict=True))


def _place(
    analysis: Analysis,
    step: Step,
    homes: Mapping[str, int],
    parts: dict[int, _Parts],
    refused: dict[tuple[str, str], Refusal],
) -> None:
    read = [homes[name] for name in step.inputs if name in homes]
    inside = set(read)
    refusal = refused.get((step.op.name, step.op.op_type))
    if refusal is not None:
        for index in inside:
            parts[index].refusals.append(refusal)
        return
    if step.flow.creates:
        _add_producer(analysis, step, homes, parts)
        for index in inside:
            _add_consumer(analysis, step, parts[index])
        return
    for index in inside.union(homes[name] for name in step.outputs[:1] if name in homes):
        parts[index].carriers.append(step.op.name)
        if step.flow.role is Role.JOIN or read.count(index) > 1:
            parts[index].joins.append(step.op.name)


def _add_producer(analysis: Analysis, step: Step, homes: Mapping[str, int], parts: dict[int, _Parts]) -> None:
    found = step.flow.outputs[0]
    home = next((homes[name] for name in step.outputs if name in homes), None)  # the first may have no name
    if found is None or not found.has_channels or home is None:
        return
    labels = found.labels
    producer = Producer(
        step.op.name,
        step.op.op_type,
        step.outputs[0],
        found.axes[0],
        int(labels.size),
        int(analysis.live[labels].sum()),
        int(is_constant(found.state).sum()),
    )
    parts[home].producers.append(producer)


def _add_consumer(analysis: Analysis, step: Step, part: _Parts) -> None:
    reads = step.flow.reads
    source = step.maps[reads[0].input]
    axis = source.axes[0] if source is not None and source.has_channels else 0
    channels = sum(int(read.sources.size) for read in reads)
    demanded = sum(int(demanded_positions(read, analysis.live).size) for read in reads)
    name = step.inputs[reads[0].input]
    part.consumers.append(Consumer(step.op.name, step.op.op_type, name, axis, channels, demanded))


def _segment(analysis: Analysis, index: int, part: _Parts, readers: dict[str, int]) -> Segment:
    labels = [analysis.maps[name].labels.ravel() for name in part.values]
    classes = np.unique(np.concatenate(labels)) if labels else np.zeros(0, np.int64)
    return Segment(
        index,
        tuple(part.producers),
        tuple(part.carriers),
        tuple(part.consumers),
        tuple(name for name in part.values if readers[name] > 1),
        tuple(part.joins),
        int(classes.size),
        int(analysis.live[classes].sum()),
        tuple(part.refusals),
    )
