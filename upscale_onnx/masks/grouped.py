"""What goes together for the sake of grouped convolutions: whole groups where there are many of them, else channels of
which every group loses as many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.classes import Classes, connected
from upscale_onnx.channels.step import Step
from upscale_onnx.masks.even_sets import even_sets
from upscale_onnx.model.operators import CONVOLUTIONS
from upscale_onnx.types import FloatArray, IntArray

GROUPS, OF_EACH_GROUP = "groups", "channels of each group"
# One of fewer groups is a large part of its convolution.
_MANY = 8


class Together(NamedTuple):
    """Sets of channels that go together, and what such a set is called."""

    sets: Sequence[IntArray]
    name: str


def grouped_units(analysis: Analysis, ids: IntArray) -> list[Together]:
    """The sets, of ids in `ids`, which has one for each class: classes of one id go together anyway."""
    grids = [_parts(step, ids) for step in analysis.steps if step.is_grouped]
    order = _importance(analysis, ids) if grids else np.zeros(0)
    found = []
    for shared in connected(grids):
        some = [grids[index] for index in shared]
        rows = [np.concatenate(parts, axis=1) for parts in some]
        if min(_independent(rows, ids.size)) >= _MANY:
            found.append(Together([row for each in rows for row in each], GROUPS))
        else:
            found.append(Together(even_sets([part for parts in some for part in parts], order), OF_EACH_GROUP))
    return found


def _parts(step: Step, ids: IntArray) -> tuple[IntArray, IntArray]:
    """`(groups, channels)` each: what the groups of a node read, and what they create."""
    read, made = step.flow.evens[0].parts
    return ids[read], ids[made]


def _independent(rows: Sequence[IntArray], count: int) -> list[int]:
    """How many groups of each node could go one by one, if groups went as a whole."""
    joined = Classes()
    joined.fresh(count)
    for each in rows:
        joined.unite(each, each[:, :1])
    return [int(np.unique(joined.find(each[:, 0])).size) for each in rows]


def _importance(analysis: Analysis, ids: IntArray) -> FloatArray:
    """By id, the absolute weights that create its channels times those that read them, each layer's as shares of its
    largest."""
    made, read = np.zeros((2, ids.size))
    for step in analysis.steps:
        found, out = step.op.weight if step.flow.creates else None, step.flow.outputs[0] if step.flow.outputs else None
        if found is None or out is None or not step.flow.reads:
            continue
        weight, layout = found
        if weight.ndim > 2 and step.op.op_type not in CONVOLUTIONS:  # several matrices
            continue
        rows = np.abs(layout.canonical(weight)).reshape(
            layout.group, -1, layout.per_group(weight.shape)[0], math.prod(weight.shape[2:])
        )
        for total, classes, sums in (
            (made, out.labels.ravel(), rows.sum((2, 3), np.float64).ravel()),
            (read, np.concatenate([one.sources for one in step.flow.reads]), rows.sum((1, 3), np.float64).ravel()),
        ):
            if sums.size == classes.size and np.isfinite(sums).all() and sums.any():
                np.add.at(total, ids[classes], sums / sums.max())
    return np.asarray(made * read)
