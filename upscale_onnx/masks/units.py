"""Units of pruning: channels that leave only together although each has a class of its own.

A single channel of an attention head cannot leave, since all heads keep as many: its place is filled. A whole head can.
A normalisation of groups takes the mean of all channels of a group, which leave together, too.
Experts have their matrices in one weight, so that a neuron leaves all of them, and so have both directions of a
recurrent layer. What a channel is to one use of a weight, it is to all other uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.classes import Classes
from upscale_onnx.channels.flow import Even, Role
from upscale_onnx.channels.step import Step
from upscale_onnx.masks.grouped import grouped_units
from upscale_onnx.masks.shared_weights import same_channels
from upscale_onnx.model.operators import RECURRENT
from upscale_onnx.types import BoolArray, IntArray

CHANNELS, NEURONS, HIDDEN, HEADS = "channels", "neurons", "hidden units", "heads"
NORMALISED = "groups of channels"  # that are normalised together
_MATRICES = ("MatMul", "Gemm")
_NORMALISATIONS = ("GroupNormalization", "InstanceNormalization", "GroupNorm", "SkipGroupNorm")


@dataclass(frozen=True, eq=False)
class Units:
    """ids: the unit of each class id, which is the id of one of its classes. names: what these units are called, by
    class id. Heads that share keys and values are one of the heads, and so are groups that normalisations of several
    sizes share."""

    ids: IntArray
    names: NDArray[np.str_]


def units_of(analysis: Analysis) -> Units:
    """The units of all channel classes of a graph. Where one unit would hold all heads, or all groups of a
    normalisation, their channels stay apart."""
    found = [*_of_groups(analysis), *_of_heads(analysis)]
    whole = _united(analysis, [even for even, _ in found])
    apart = [(even, name) for even, name in found if np.unique(whole[even.parts[0]]).size > 1]
    names = np.full(analysis.live.size, CHANNELS, "<U24")
    names[_between_matrices(analysis)] = NEURONS
    for step in analysis.steps:
        grid = neurons_of(step)
        if grid is not None:
            names[grid] = NEURONS
        if step.op.op_type in RECURRENT and not step.barrier:
            names[np.concatenate([found.labels.ravel() for found in step.flow.outputs if found is not None])] = HIDDEN
        if step.op.op_type == "ReduceMean" and step.maps[0] is not None:  # of a normalisation in separate nodes
            classes, sizes = np.unique(step.maps[0].labels, return_counts=True)
            names[classes[sizes > 1]] = NORMALISED
    for even, name in apart:
        for part in even.parts:
            names[part] = name
    ids = _united(analysis, [even for even, _ in apart])
    joined = Classes()
    joined.unite(joined.fresh(ids.size), ids)
    for together in grouped_units(analysis, ids):
        members = np.zeros(ids.size, np.bool_)
        for each in together.sets:
            joined.unite(each, each[:1])
            members[each] = True
        names[members[ids]] = together.name
    return Units(joined.roots(), names)


def is_batched(step: Step) -> bool:
    """Whether the node multiplies by several matrices in one weight, one for each index of a batch axis."""
    return step.op.op_type == "MatMul" and step.flow.creates and len(step.flow.reads) > 1


def neurons_of(step: Step) -> IntArray | None:
    """The grid `(channels, neurons)` of a node that multiplies places by one matrix, for all channels; None for other
    nodes. A neuron leaves all rows."""
    evens = step.flow.evens
    if step.op.op_type != "MatMul" or step.op.weight is None or step.flow.creates or len(evens) != 1:
        return None
    return evens[0].parts[0][:, 1:]  # each row starts with the channel itself


def _between_matrices(analysis: Analysis) -> BoolArray:
    """By class id, whether matrices make the channels, and one matrix alone reads them."""
    made, readers = np.zeros(analysis.live.size, np.bool_), np.zeros(analysis.live.size, np.int64)
    for step in analysis.steps:
        for source in step.maps if _is_product(step) else ():
            if source is not None:
                readers[np.unique(source.labels)] += 2
        if not step.flow.creates:
            continue
        is_matrix = step.op.op_type in _MATRICES
        for read in step.flow.reads:
            readers[np.unique(read.sources)] += 1 if is_matrix else 2
        for found in step.flow.outputs if is_matrix else ():
            if found is not None:
                made[found.labels] = True
    return np.asarray(made & (readers == 1))


def _united(analysis: Analysis, heads: Iterable[Even]) -> IntArray:
    """The unit of each class id where each row of `heads` is one, over all parts."""
    joined = Classes()
    joined.fresh(analysis.live.size)
    for step in (step for step in analysis.steps if is_batched(step) or step.op.op_type in RECURRENT):
        for part in (part for even in step.flow.evens for part in even.parts):
            joined.unite(part, part[:1])
    for grid in map(neurons_of, analysis.steps):
        if grid is not None:
            joined.unite(grid, grid[:1])
    for left, right in same_channels(analysis):
        joined.unite(left, right)
    for even in heads:
        first = even.parts[0].reshape(len(even.parts[0]), -1)[:, :1]
        for part in even.parts:
            joined.unite(part.reshape(len(part), -1), first)
    return joined.roots()


def _of_heads(analysis: Analysis) -> Iterator[tuple[Even, str]]:
    """The grids of products of two activations, with a row for each head."""
    for step in filter(_is_product, analysis.steps):
        yield from ((even, HEADS) for even in step.flow.evens if len(even.parts) > 1)


def _of_groups(analysis: Analysis) -> Iterator[tuple[Even, str]]:
    """The grids of normalisations, with a row for each group."""
    for step in (s for s in analysis.steps if s.op.op_type in _NORMALISATIONS and not s.barrier):
        if step.flow.reads:
            yield Even((np.stack([read.sources for read in step.flow.reads]),)), NORMALISED


def _is_product(step: Step) -> bool:
    """Whether the node multiplies activations, as attention does, maybe of projections within the node."""
    return step.flow.role is Role.CONTRACTION and (not step.flow.creates or step.flow.inner is not None)
