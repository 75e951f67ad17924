"""Reductions over some of several axes with channels: what is left of each row is one channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild
from upscale_onnx.channels.flow import Even, Flow, Fresh, Misaligned, Read, Resize
from upscale_onnx.channels.grid import coordinates, rows_over
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.types import IntArray

SUMS = ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum")


def reduced_rows(op: Op, found: ChannelMap, hit: Sequence[int], fresh: Fresh) -> Flow:
    """The flow of a reduction over the axes `hit`, to a map with size 1 along them. Sums and means can do without
    zeros, as many of each row; in all other reductions the channels of a row stay or go together."""
    zeros = rows_over(found.state == 0, hit)
    wild = is_wild(found.state).any(tuple(hit), keepdims=True)
    state = np.where(wild, WILD, VARYING)
    if not (_leaves_zeros(op) and zeros.any(1).all()):
        labels = found.labels
        for axis in hit:
            labels = labels.take([0], axis)
        return Flow((ChannelMap(labels, state),), ties=((found.labels, labels),), fixed=(found.labels,))
    grid = rows_over(found.labels, hit)
    targets = fresh(len(grid))
    reads = (
        Read(0, row, target, foldable=zero) for row, target, zero in zip(grid, targets[:, None], zeros, strict=True)
    )
    out = ChannelMap(targets.reshape(state.shape), state)
    even = Even((targets[:, None], grid))
    return Flow((out,), reads=tuple(reads), evens=(even,), fixed=(found.labels, targets))


def resized_rows(op: Op, found: ChannelMap, emission: IntArray, hit: Sequence[int]) -> Resize:
    """The reduction of what is left; the emission of its result has size 1 along the axes `hit`.

    Raises: Misaligned where rows are left in part, and the reduction cannot do without the rest.
    """
    left = int(np.prod([emission.shape[axis] for axis in hit]))
    total = int(np.prod([found.shape[axis] for axis in hit]))
    if left < total and not _leaves_zeros(op):
        raise Misaligned(found.labels)
    outputs = (folded_emission(found, emission, hit),)
    if left == total or op.op_type in SUMS:
        return Resize(outputs)
    rest = (1,) if op.has(1) else ()
    mean = NewNode(op.op_type, (0, *rest), attrs=op.attrs)
    return Resize(outputs, replace=(NewNode("Mul", (mean, np.asarray(left / total, op.dtype(0)))),))


def folded_emission(found: ChannelMap, emission: IntArray, hit: Sequence[int]) -> IntArray:
    """The rows that an emission holds, with size 1 along the axes `hit`. Raises `Misaligned` where these are ragged."""
    where = list(coordinates(emission, found.shape))
    for other in (axis for axis in found.axes if axis not in hit):
        for axis in hit:
            if (where[other] != where[other].take([0], axis)).any():
                raise Misaligned(found.labels)
    for axis in hit:
        where = [c.take([0], axis) for c in where]
    where = [np.zeros_like(c) if axis in hit else c for axis, c in enumerate(where)]
    shape = [1 if axis in hit else size for axis, size in enumerate(found.shape)]
    return np.asarray(np.ravel_multi_index(tuple(where), shape), np.int64)


def _leaves_zeros(op: Op) -> bool:
    return op.op_type in SUMS or (op.op_type == "ReduceMean" and np.dtype(op.dtype(0)).kind == "f")
