"""Draws positions of one layer from both networks, in two parts: to fit on and to judge by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np

from upscale_onnx.repair.fit import Sample
from upscale_onnx.repair.goals import FitGoal
from upscale_onnx.repair.linear import LinearLayer
from upscale_onnx.runtime.walk import Walk
from upscale_onnx.types import Array

# Positions per unknown of one output. The relative error by sampling is about 1 / this number.
_PER_UNKNOWN = 200
_LEAST = 10_000
_MOST_BYTES = 2**28
_HELD_EVERY = 8


def sample_layer(
    layer: LinearLayer, goal: FitGoal, unpruned: Walk, pruned: Walk, samples: int, seed: int
) -> tuple[Sample, Sample] | None:
    """The positions to fit on, and those of every eighth input, which are held out; in float32. None where there are no
    positions: the layer is in a body that is not run, or not in as many rounds of both networks.

    The walks must hold the needed values: `unpruned` the goal's value, `pruned` the layer's source and the goal's skip.
    Inputs are told apart by their index along the first axis of the source that is not one of matrices.
    """
    rng = np.random.default_rng(seed)
    each = _positions_each(layer, samples)
    skips: Iterator[Any] = repeat(None) if goal.skip is None else pruned.values(goal.skip)
    x, wanted, offset, owner = [], [], [], []
    shift = goal.shift.reshape(layer.group, 1, -1).astype(np.float32)
    count = 0
    for read, made, skip in zip(pruned.values(layer.source), unpruned.values(goal.value), skips, strict=False):
        if layer.is_inner:
            times = _rounds(layer, read, made)
            if not times:
                continue
            # Values of the main graph are read in every round.
            read = np.repeat(read, times, axis=0)
            if skip is not None and len(skip) * times == len(made):
                skip = np.repeat(skip, times, axis=0)
        chosen, owners = _draw(rng, *layer.positions(read.shape), each)
        x.append(layer.patches(_single(read), chosen))
        wanted.append(layer.rows(_single(made), chosen))
        offset.append(_offset(layer, made, skip, chosen) + shift)
        owner.append(owners + count)
        count += layer.positions(read.shape)[0]
    if not owner:
        return None
    held = np.concatenate(owner) % _HELD_EVERY == _HELD_EVERY - 1
    if not held.any():
        held[-1:] = True
    whole = [np.concatenate(parts, axis=1) for parts in (x, wanted, offset)]
    fit, judge = (Sample(*(array[:, choice] for array in whole)) for choice in (~held, held))
    return fit, judge


def sample_moments(layer: LinearLayer, walk: Walk, samples: int, seed: int) -> Array | None:
    """The sum of x x^T over drawn positions, (group, K, K); x is what a position reads in the network of `walk`. None
    where the layer is in a body that is not run."""
    rng = np.random.default_rng(seed)
    each = _positions_each(layer, samples)
    total: Array | None = None
    for read in walk.values(layer.source):
        if not read.size:
            continue
        chosen, _ = _draw(rng, *layer.positions(read.shape), each)
        x = layer.patches(_single(read), chosen)
        moments = Sample(x, x[..., :0], x[..., :0]).moments
        total = moments if total is None else total + moments
    return total


def _rounds(layer: LinearLayer, read: Array, made: Array) -> int:
    """How often the layer makes what it makes of a value, by the size of `made`; 0 where that is no whole number."""
    size = math.prod(layer.positions(read.shape)) * layer.outputs
    return 0 if not size or made.size % size else made.size // size


def _positions_each(layer: LinearLayer, samples: int) -> int:
    """How many positions of each sample to draw."""
    rows = layer.channels * layer.block + 1
    most = _MOST_BYTES // (4 * layer.group * rows)
    return -(-min(max(_PER_UNKNOWN * rows, _LEAST), most) // samples)


def _draw(rng: np.random.Generator, samples: int, positions: int, each: int) -> tuple[Array, Array]:
    """Flat indices of drawn positions, and the sample that each of them belongs to."""
    if each >= positions:
        return np.arange(samples * positions), np.repeat(np.arange(samples), positions)
    first = np.arange(samples)[:, None] * positions
    return (first + rng.integers(0, positions, (samples, each))).ravel(), np.repeat(np.arange(samples), each)


def _offset(layer: LinearLayer, made: Array, skip: Any, chosen: Array) -> Array:
    if skip is None:
        return np.zeros((layer.group, chosen.size, 1), np.float32)
    # An Add may broadcast a smaller value to the layer's output.
    return layer.rows(_single(np.broadcast_to(skip, made.shape)), chosen)


def _single(array: Array) -> Array:
    return np.asarray(array, np.float32)
