"""What nodes that are left alone cost: channels that could go if it were not for them, and bytes of weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.channel_map import is_constant
from upscale_onnx.channels.demand import demand
from upscale_onnx.channels.flow import Read
from upscale_onnx.channels.step import Step
from upscale_onnx.results import Refusal
from upscale_onnx.types import Array, BoolArray, IntArray

_SWEEPS = 200  # nodes whose demand is taken away, one by one; each takes sweeps over the whole graph


def priced_refusals(analysis: Analysis) -> tuple[Refusal, ...]:
    """The refusals of the analysis with what each costs, the most expensive first.

    A node costs the constant channels of its inputs that nothing but it demands, with the bytes of all weights that
    would go with them; the slices of zeros in its own weights; and those of the weights that read its results. Channels
    that several such nodes demand are no single node's cost.
    """
    barriers = {(step.op.name, step.op.op_type): step for step in analysis.steps if step.barrier}
    priced, sweeps = [], 0
    for refusal in analysis.refusals:
        step = barriers.get((refusal.node, refusal.op_type))
        if step is None:
            priced.append(refusal)
            continue
        idle = [idle_slices(array) for array in step.op.constants if array is not None]
        idle += [found for other in analysis.steps if (found := _unread(other, step)) is not None]
        channels, size = sum(count for count, _ in idle), sum(size for _, size in idle)
        if sweeps < _SWEEPS and _demands_constants(step):
            sweeps += 1
            freed = analysis.live & ~_live_without(analysis, step)
            channels += sum(int(freed[np.unique(found.labels)].sum()) for found in step.maps if found is not None)
            size += sum(_freed_bytes(other, analysis.live, freed) for other in analysis.steps)
        priced.append(replace(refusal, channels=channels, bytes=size))
    return tuple(sorted(priced, key=lambda item: (-item.bytes, -item.channels)))


def idle_slices(array: Array) -> tuple[int, int]:
    """How many slices of a weight hold nothing but zeros, along all its axes, and how many bytes all of them take."""
    if array.ndim < 2 or array.dtype.kind not in "fiu":
        return 0, 0
    used = array != 0
    idle = [
        int((~used.any(tuple(other for other in range(array.ndim) if other != axis))).sum())
        for axis in range(array.ndim)
    ]
    left = float(np.prod([1 - count / size for count, size in zip(idle, array.shape, strict=True) if size]))
    return sum(idle), round(array.nbytes * (1 - left))


def _unread(step: Step, barrier: Step) -> tuple[int, int] | None:
    """The channels of the results that the step's weight has zeros for, and their bytes. None: it reads none."""
    made = [found.labels.ravel() for found in barrier.flow.outputs if found is not None]
    read, weight = step.flow.dense, step.op.weight
    if read is None or weight is None or read.pattern is None or read.sources.size < 2 or not made:
        return None
    if not np.isin(read.sources, np.concatenate(made)).all():
        return None
    count = int((~read.pattern.any(0)).sum())
    return count, round(weight[0].nbytes * count / read.sources.size)


def _demands_constants(step: Step) -> bool:
    return any(found is not None and found.axes and is_constant(found.state).any() for found in step.maps)


def _live_without(analysis: Analysis, left_out: Step) -> BoolArray:
    """Which classes are live if one step does not demand constants."""
    varying = (None if found is None else found.labels[~is_constant(found.state)] for found in left_out.maps)
    reads = tuple(Read(index, labels) for index, labels in enumerate(varying) if labels is not None)
    silent = replace(left_out, flow=replace(left_out.flow, reads=reads, fragile=()))
    steps = [silent if step is left_out else step for step in analysis.steps]
    live = np.zeros_like(analysis.live)
    for name in (*analysis.inputs, *analysis.outputs):
        found = analysis.maps.get(name)
        if found is not None:
            live[found.labels] = True
    return demand(steps, live, live, analysis.outputs)[0]


def _freed_bytes(step: Step, live: BoolArray, freed: BoolArray) -> int:
    """Bytes of the step's weight that go with the classes in `freed`."""
    found = step.op.weight
    if found is None or not step.flow.creates:
        return 0
    left = live & ~freed
    return round(found[0].nbytes * (_share(step, live) - _share(step, left)))


def _share(step: Step, live: BoolArray) -> float:
    """The share of the step's weight whose results and inputs are both live."""
    return float(np.mean([_mean(live, read.sources) * _mean(live, read.targets) for read in step.flow.reads] or [0.0]))


def _mean(live: BoolArray, labels: IntArray | None) -> float:
    return 1.0 if labels is None or labels.size == 0 else float(live[labels].mean())
