"""What it costs each layer to lose channels, in numbers that can be compared between layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from upscale_onnx.masks.criteria import obs
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.repair.fit import Sample, Solver, Tail
from upscale_onnx.repair.goals import Goals
from upscale_onnx.repair.layers import Layer, linear_layers
from upscale_onnx.repair.sampling import sample_layer
from upscale_onnx.runtime.activations import Walk, sample_count

Array = NDArray[Any]

_DAMPING = 1e-2
_RIDGES = (1e-3, 1e-1)
_STEPS = 8
# Keeps the order where errors are alike.
_LEAST = 1e-12


def obs_costs(
    model: onnx.ModelProto, batches: Sequence[Mapping[str, Array]], threads: int = 1
) -> dict[str, NDArray[np.float64]]:
    """By weight, a score of each input channel whose squares add up to the error, of inputs held out, that losing
    these channels leaves after a re-fit, over the variation of what the layer makes, behind its addition and
    activation.

    Channels go in the order of optimal brain surgeon. Unlike the error on what was fitted, this one knows where
    there are too few samples to make up for a channel. Left out are the layers that `obs_scores` leaves out.
    """
    samples = sample_count(batches)
    layers = [layer for layer in linear_layers(model) if layer.group == 1]
    finder = Goals(model)
    goals = [finder.goal(layer) for layer in layers]
    tensors = constant_tensors(model)
    needed = [{layer.source, goal.value, goal.skip or goal.value} for layer, goal in zip(layers, goals, strict=True)]
    scores = {}
    with Walk(model, batches, keep=set().union(*needed), threads=threads) as walk:
        for number, (layer, goal) in enumerate(zip(layers, goals, strict=True)):
            walk.advance(max(layer.position, goal.position) + 1)
            fit, held = sample_layer(layer, goal, walk, walk, samples, seed=layer.position)
            bias = None if layer.bias is None else numpy_helper.to_array(tensors[layer.bias])
            start = layer.matrix(numpy_helper.to_array(tensors[layer.weight]), bias)
            tail, carries = goal.tail(layer.group)
            scores[layer.weight] = _costs(layer, fit, held, tail, start * carries)
            for name in needed[number].difference(*needed[number + 1 :]):
                walk.release(name)
    return scores


def _costs(layer: Layer, fit: Sample, held: Sample, tail: Tail, start: Array) -> NDArray[np.float64]:
    damping = _DAMPING * np.trace(fit.moments[0]) / start.shape[1] * np.eye(start.shape[1])
    order = np.argsort(
        obs.score(fit.moments[0] + damping, start[0] * np.abs(tail.scale[0]), layer.channels, layer.block)
    )
    cross = fit.cross(fit.wanted(tail))
    counts = np.unique(-(-np.arange(1, _STEPS) * layer.channels // _STEPS))
    errors = [0.0]
    for count in counts:
        alive = np.ones(start.shape[:2], np.bool_)
        alive[0, :-1] = np.repeat(~np.isin(np.arange(layer.channels), order[:count]), layer.block)
        alive[:, -1] = layer.can_bias
        solver = Solver(fit.moments, alive)
        kept = start * alive[..., None]
        errors.append(min(float(held.error(solver.solve(cross, kept, ridge), tail).sum()) for ridge in _RIDGES))
    variation = float(np.clip(held.goal, tail.low, tail.high).var(axis=1, dtype=np.float64).sum()) or 1.0
    steps = np.diff([0, *counts])
    each = np.maximum.accumulate(np.maximum(np.diff(errors), 0.0) / variation / steps)
    found = np.full(layer.channels, np.inf)
    found[order[: counts[-1]]] = np.sqrt(np.repeat(each, steps))
    found += np.argsort(order) * _LEAST
    return found
