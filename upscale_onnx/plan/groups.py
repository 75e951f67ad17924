"""Groups of values that hold the same channels in the same order, so that all may be computed in the same pieces."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Role
from upscale_onnx.channels.step import Step
from upscale_onnx.plan.selection import Demand, demands

# Channel axis, rank and classes of a value.
_Key = tuple[int, int, bytes]


@dataclass
class ProducerGroup:
    """Values that hold the same channels.

    steps: the steps that compute the values, by index into the analysis. values: their names, in graph order. items:
    the demands of consumers that could read pieces. whole: the values that other steps read, which need all channels.
    sound: whether the group may be computed in pieces.
    """

    steps: list[int] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    items: list[Demand] = field(default_factory=list)
    whole: set[str] = field(default_factory=set)
    sound: bool = True


def find_groups(analysis: Analysis) -> list[ProducerGroup]:
    """The groups of the analysed graph, in the order of their first values."""
    found: dict[_Key, ProducerGroup] = defaultdict(ProducerGroup)
    home: dict[str, ProducerGroup] = {}
    # Only a sum over all channels can be made of sums over pieces.
    dense = (item for item in demands(analysis) if analysis.steps[item.step].flow.dense is not None)
    consumers = {item.step: item for item in dense}
    for number, (step, needed) in enumerate(zip(analysis.steps, analysis.needed, strict=True)):
        if not needed:
            continue
        out = step.flow.outputs[0] if step.flow.outputs else None
        key, inside = _key(out), [name for name in step.inputs if name in home]
        item = consumers.get(number)
        split = out is not None and key is not None and _splittable(step, key, len(inside))
        for name in inside if not split or step.flow.creates else ():
            group = home[name]
            # A step that joins the value with another of the group, or whose subgraph reads it, needs the whole value.
            same = key is not None and found.get(key) is group
            merges = same and (split or sum(given is not None for given in step.maps) > 1)
            wired = any(tensor.name == name for tensor in step.node.inputs)
            group.sound &= wired and not merges
            if item is not None and step.inputs[item.input] == name:
                group.items.append(item)
            else:
                group.whole.add(name)
        if split and out is not None and key is not None:
            group = home[step.outputs[0]] = found[key]
            group.steps.append(number)
            group.values.append(step.outputs[0])
            group.sound &= step.outputs[0] not in analysis.outputs and not analysis.fixed[out.labels].any()
    return list(found.values())


def _key(found: ChannelMap | None) -> _Key | None:
    """The key of a group: equal for values with the same channels in the same order; None where a class is repeated."""
    if found is None or len(found.axes) != 1 or np.unique(found.labels).size != found.labels.size:
        return None
    return found.axes[0], found.rank, found.labels.tobytes()


def _splittable(step: Step, key: _Key, inside: int) -> bool:
    """Whether the step can be computed piece by piece: it creates channels, or works within each channel."""
    if any(step.outputs[1:]):
        return False
    if step.flow.dense is not None:
        return step.flow.linear
    if step.flow.role not in (Role.POINTWISE, Role.POOLING) or step.flow.reads or step.flow.evens:
        return False
    dynamic = [given for given in step.maps if given is not None]
    return len(dynamic) == inside > 0 and all(_key(given) == key for given in dynamic)
