"""What nodes that are left alone cost: channels that could go if it were not for them, and bytes of weights.

All nodes are priced in one pass over the graph.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.channel_map import is_constant
from upscale_onnx.channels.demand import demanded_positions
from upscale_onnx.channels.rules.equation import has_steps, plain_equation
from upscale_onnx.channels.step import Step
from upscale_onnx.errors import Reason
from upscale_onnx.results import Refusal
from upscale_onnx.types import Array, BoolArray, FloatArray, IntArray

# Operators of which each result depends on all channels, those that are constant too.
_COUNTING = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
_COUNTED = "a channel that is constant counts like any other"


def priced_refusals(analysis: Analysis) -> tuple[Refusal, ...]:
    """The refusals of the analysis with what each costs, the most expensive first.

    A node costs the constant channels of its inputs that nothing but it demands, with the bytes of weights that make
    them; the slices of zeros in its own weights; and those of the weights that read its results. Channels that several
    such nodes demand are no single node's cost. Products that an export writes in another form are not left alone.
    A Softmax over channels is no barrier, but it counts channels of constants like all others: if it holds any, it is
    listed, too.
    """
    stopped = [step.op for step in analysis.steps if step.barrier]
    plain = {op.name for op in stopped if has_steps(op) or plain_equation(op) is not None}
    refusals = [refusal for refusal in analysis.refusals if refusal.node not in plain]
    counting = [step for step in analysis.steps if step.op.op_type in _COUNTING and step.flow.reads]
    if not refusals and not counting:
        return ()
    barriers = {(step.op.name, step.op.op_type): index for index, step in enumerate(analysis.steps) if step.barrier}
    held, sizes, unread = _demanded_once(analysis), _bytes_by_class(analysis), _unread(analysis)
    priced = []
    for refusal in refusals:
        index = barriers.get((refusal.node, refusal.op_type))
        if index is None:
            priced.append(refusal)
            continue
        step = analysis.steps[index]
        freed = _constants(step)
        freed = freed[held[freed]]
        idle = [idle_slices(array) for array in step.op.constants if array is not None] + unread.get(index, [])
        channels = freed.size + sum(count for count, _ in idle)
        size = round(sizes[freed].sum()) + sum(size for _, size in idle)
        priced.append(replace(refusal, channels=channels, bytes=size))
    for step in counting:
        freed = _constants(step)
        freed = freed[held[freed]]
        if freed.size:
            size = round(sizes[freed].sum())
            op = step.op
            priced.append(Refusal(op.name, op.op_type, Reason.WHOLE_AXIS, _COUNTED, freed.size, size))
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


def _constants(step: Step) -> IntArray:
    """The classes of the constant channels among a step's inputs."""
    found = [given.labels[is_constant(given.state)] for given in step.maps if given is not None and given.axes]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *found]))


def _demanded_once(analysis: Analysis) -> BoolArray:
    """Which classes a single step demands, and neither inputs nor outputs of the graph hold."""
    counts = np.zeros(analysis.live.size, np.int64)
    for step, needed in zip(analysis.steps, analysis.needed, strict=True):
        if needed:
            wanted = [read.sources[demanded_positions(read, analysis.live)] for read in step.flow.reads]
            wanted += [labels.ravel() for labels in step.flow.fragile]
            counts[np.concatenate([np.zeros(0, np.int64), *wanted])] += 1  # once a step, however often it reads one
    for name in (*analysis.inputs, *analysis.outputs):
        found = analysis.maps.get(name)
        if found is not None:
            counts[found.labels] += 1
    single: BoolArray = counts == 1
    return single


def _bytes_by_class(analysis: Analysis) -> FloatArray:
    """For each class, the bytes of the weights' entries that make it of live channels."""
    sizes = np.zeros(analysis.live.size)
    for step in analysis.steps:
        weight = step.op.weight
        if weight is None or not step.flow.creates:
            continue
        share = weight[0].nbytes / len(step.flow.reads)
        for read in step.flow.reads:
            if read.targets is not None and read.sources.size:
                np.add.at(sizes, read.targets, share / read.targets.size * analysis.live[read.sources].mean())
    return sizes


def _unread(analysis: Analysis) -> Mapping[int, list[tuple[int, int]]]:
    """By the number of a step that is left alone: for each weight that reads its results alone, the channels that it
    has zeros for, and their bytes."""
    maker = np.full(analysis.live.size, -1)
    for index, step in enumerate(analysis.steps):
        if step.barrier:
            for made in step.flow.outputs:
                if made is not None:
                    maker[made.labels] = index
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for step in analysis.steps:
        read, weight = step.flow.dense, step.op.weight
        if read is None or weight is None or read.known is None or read.sources.size < 2:
            continue
        makers = np.unique(maker[read.sources])
        if makers.size == 1 and makers[0] >= 0:
            count = int((~read.known.read_by()).sum())
            found[int(makers[0])].append((count, round(weight[0].nbytes * count / read.sources.size)))
    return found
