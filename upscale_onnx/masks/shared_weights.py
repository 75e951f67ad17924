"""Weights that several nodes use: a mask is written once, so that all of them lose the same channels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.step import Step
from upscale_onnx.types import BoolArray, IntArray

_Pair = tuple[IntArray, IntArray]


def weight_of(step: Step) -> str:
    """The name of the weight by which the node creates channels; "" where there is none."""
    found = step.op.weight if step.flow.creates else None
    return "" if found is None else step.inputs[found[1].operand]


def same_channels(analysis: Analysis) -> Iterator[_Pair]:
    """Class ids of channels that nodes read, or create, by the same entries of one weight."""
    uses: dict[str, list[Step]] = defaultdict(list)
    for step in analysis.steps:
        uses[weight_of(step)].append(step)
    uses.pop("", None)
    for one, other in (pair for steps in uses.values() for pair in pairwise(steps)):
        for left, right in zip(_sides(one), _sides(other), strict=True):
            if left.size == right.size:
                apart = _told_apart(left) & _told_apart(right)
                yield left[apart], right[apart]


def _sides(step: Step) -> _Pair:
    """The class ids that the node reads and creates."""
    out = step.flow.outputs[0]
    made = np.zeros(0, np.int64) if out is None or len(out.axes) != 1 else out.labels.ravel()
    return np.concatenate([made[:0], *(read.sources for read in step.flow.reads)]), made


def _told_apart(ids: IntArray) -> BoolArray:
    """Which channels have a class of their own."""
    _, places, counts = np.unique(ids, return_inverse=True, return_counts=True)
    return np.asarray(counts[places] == 1)
