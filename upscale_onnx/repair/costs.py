"""The cost, in the network's outputs, of pruning channels of a layer. Costs of several layers can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import scipy
from numpy.typing import NDArray

from upscale_onnx.masks.criteria import obs
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.repair.fit import Sample, Solver, Tail
from upscale_onnx.repair.goals import FitGoal, Goals
from upscale_onnx.repair.layers import linear_layers
from upscale_onnx.repair.linear import LinearLayer
from upscale_onnx.repair.repair import needs, read_matrix, sampled, write_matrix
from upscale_onnx.runtime.activations import batches_of, has_fixed_batch, sample_count
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.walk import Walk
from upscale_onnx.types import Array, FloatArray

Harm = Callable[[onnx.ModelProto], float]

_DAMPING = 1e-2
_RIDGES = (1e-3, 1e-1)
# Each layer is tried without these shares of its channels. Between these points, harm is interpolated.
_SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8, 1.0)
_JUDGES = 64
_PIECES = 8
_MOST_HARM = 1e6  # outputs may overflow
# A small step per channel, which keeps the order of channels with equal costs.
_LEAST = 1e-12


def obs_costs(
    model: onnx.ModelProto,
    batches: Sequence[Inputs],
    harm_on: Callable[[Sequence[Inputs]], Harm],
    threads: int = 1,
) -> dict[str, FloatArray]:
    """By weight, a score for each input channel, (C_in,). The squares of scores add up to the harm of pruning them.

    The harm is that to the outputs if only this layer loses channels and is re-fitted. Channels are lost in the order
    of optimal brain surgeon. The harm is measured on inputs that no fit has seen, so that layers with few positions,
    which can be fitted to anything, get high scores. Layers that `obs_scores` leaves out are left out here, too.

    harm_on: makes, from such inputs, a function that returns how much worse than `model` another model is. Its result
    should grow with the squared error of the outputs, so that the harm of several layers adds up.
    """
    fit_on, judged_on = _divided(model, batches)
    harm = harm_on(judged_on)
    samples = sample_count(fit_on)
    layers = [layer for layer in linear_layers(model) if not layer.is_depthwise]
    finder = Goals(model)
    goals = [finder.goal(layer) for layer in layers]
    needed = [
        needs(model, layer, goal) | {layer.source, goal.skip or goal.value}
        for layer, goal in zip(layers, goals, strict=True)
    ]
    scores = {}
    with Walk(model, fit_on, keep=set().union(*needed), threads=threads) as walk:
        for number, (layer, goal) in enumerate(zip(layers, goals, strict=True)):
            walk.advance(max(layer.position, goal.position) + (not layer.is_inner))
            drawn = sampled(layer, goal, walk, walk, samples)
            if drawn is not None:
                scores[layer.weight] = _scores(model, layer, goal, drawn, harm)
            for name in needed[number].difference(*needed[number + 1 :]):
                walk.release(name)
    return scores


def _scores(
    model: onnx.ModelProto, layer: LinearLayer, goal: FitGoal, drawn: tuple[Sample, Sample], harm: Harm
) -> FloatArray:
    (fit, held), start = drawn, read_matrix(layer, constant_tensors(model))
    tail, carries = goal.tail(layer.group)
    order = _order(layer, fit, tail, start * carries)
    counts = np.unique(np.ceil(np.array(_SHARES) * layer.inputs).astype(int))
    cross = fit.cross(fit.wanted(tail))
    harms = []
    for count in counts:
        matrix = _without(order[:count], layer, fit, cross, held, tail, start)
        trial = onnx.ModelProto()
        trial.CopyFrom(model)
        write_matrix(trial, layer, np.where(carries, matrix, start))
        harms.append(min(harm(trial), _MOST_HARM))
    return _spread(order, counts, harms)


def _divided(model: onnx.ModelProto, batches: Sequence[Inputs]) -> tuple[Sequence[Inputs], Sequence[Inputs]]:
    """Batches to fit on, and batches to measure on: these hold the last quarter of all samples, at most about 64."""
    samples = sample_count(batches)
    fixed, size = has_fixed_batch(model), max(samples // _PIECES, 1)
    fit = [piece for batch in batches for piece in ([batch] if fixed else batches_of(batch, size))]
    judging: list[Inputs] = []
    while len(fit) > 1 and (not judging or sample_count(judging) < min(samples // 4, _JUDGES)):
        judging.append(fit.pop())
    return fit, judging or fit


def _order(layer: LinearLayer, fit: Sample, tail: Tail, start: Array) -> NDArray[np.intp]:
    """The layer's channels in the order in which they are pruned."""
    costs = []
    for moments, matrix, scale in zip(fit.moments, start, tail.scale, strict=True):
        damping = _DAMPING * np.trace(moments) / len(moments) * np.eye(len(moments))
        costs.append(np.square(obs.score(moments + damping, matrix * np.abs(scale), layer.channels, layer.block)))
    return np.argsort(np.reshape(costs, (-1, layer.inputs)).sum(0))


def _without(
    gone: NDArray[np.intp], layer: LinearLayer, fit: Sample, cross: Array, held: Sample, tail: Tail, start: Array
) -> Array:
    """The re-fitted matrix without the channels in `gone`."""
    alive = np.asarray(start.any(axis=2))
    kept = ~np.isin(np.arange(layer.inputs), gone)
    alive[:, :-1] &= np.repeat(kept.reshape(-1, layer.channels), layer.block, axis=1)
    alive[:, -1] = layer.can_bias
    solver, left = Solver(fit.moments, alive), start * alive[..., None]
    found = [solver.solve(cross, left, ridge) for ridge in _RIDGES]
    return min(found, key=lambda matrix: float(held.error(matrix, tail).sum()))


def _spread(order: NDArray[np.intp], counts: NDArray[np.intp], harms: Sequence[float]) -> FloatArray:
    """The score of each channel. The last ones, which go between the last two counts, share what is lost there: without
    a layer's last channels, what it makes no longer depends on its input."""
    known = np.maximum.accumulate([0.0, *harms])
    before = int(counts[-2]) if counts.size > 1 else 0
    last = np.full(order.size - before, (known[-1] - known[-2]) / (order.size - before))
    steps = last
    if before:
        rising = scipy.interpolate.PchipInterpolator([0, *counts[:-1]], known[:-1])
        steps = np.concatenate([np.diff(rising(np.arange(before + 1))), last])
    found = np.empty(order.size)
    found[order] = np.sqrt(np.maximum.accumulate(np.maximum(steps, 0.0)))
    found += np.argsort(order) * _LEAST
    return found
