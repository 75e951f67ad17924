"""Repairs a pruned network layer by layer in graph order; each layer reads values of the layers repaired before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Literal

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.model.bodies import all_nodes, flat_graphs
from upscale_onnx.repair.fit import Sample, Tail, refit
from upscale_onnx.repair.goals import FitGoal, Goals
from upscale_onnx.repair.layers import linear_layers, placed_nodes
from upscale_onnx.repair.linear import LinearLayer
from upscale_onnx.repair.moments import rescale
from upscale_onnx.repair.sampling import sample_layer
from upscale_onnx.runtime.activations import reads, sample_count
from upscale_onnx.runtime.walk import Walk
from upscale_onnx.types import Array, BoolArray, Progress

How = Literal["stats", "lsq"]
Rounded = Callable[[str, Array], Array]
"""Returns the numbers that the model can hold in place of the values of the weight with this name."""
Choose = Callable[[LinearLayer, Sample, Sample, Tail, Array], BoolArray | None]

# A layer with a smaller error counts as unchanged.
_ROUNDING = 1e-5
_FITS = {"stats": rescale, "lsq": refit}


@dataclass(frozen=True)
class LayerRepair:
    """The effect of the repair of one layer, on inputs that were held out.

    before, after: the root of the squared error of the layer's outputs behind the activation, relative to the
    variation of the goal; about 0 if the layer still computes the same.
    """

    weight: str
    before: float
    after: float


def repair(
    unpruned: onnx.ModelProto,
    pruned: onnx.ModelProto,
    batches: Sequence[Mapping[str, Array]],
    how: How = "lsq",
    *,
    choose: Choose | None = None,
    rounded: Rounded | None = None,
    progress: Progress | None = None,
    threads: int = 1,
) -> tuple[onnx.ModelProto, tuple[LayerRepair, ...]]:
    """A copy of `pruned` whose remaining weights make up for the pruned ones, and the effect on each layer.

    From its input in the pruned network, each layer is fitted to compute the values of the unpruned network. An output
    that is not nearer to these on inputs held out keeps its weights. Channels of a weight that are zero in `pruned`
    stay zero, also those that `unpruned` came with. Layers with other zeros that `unpruned` has not, and weights that
    several nodes use, are left alone.

    batches: inputs by name, samples along the first axis.
    choose: may prune more channels. It is given a layer, the positions to fit on, the positions held out, the tail and
    the matrix of the layer, and returns the rows (group, K) to keep; None keeps those of `pruned`.
    rounded: what becomes of weights where they are stored in fewer numbers. A layer that is not nearer to its goal with
    rounded weights keeps its own.

    Raises:
        ArgumentError: the two models do not have the same graph, or there are fewer than 16 samples.
    """
    samples = sample_count(batches)
    if samples < 2 * 8:
        raise ArgumentError(f"repair needs calibration data of at least 16 samples, there are {samples}")
    if [n.op_type for n in unpruned.graph.node] != [n.op_type for n in pruned.graph.node]:
        raise ArgumentError("the graphs of the pruned and the unpruned model differ")
    repaired = onnx.ModelProto()
    repaired.CopyFrom(pruned)
    layers = linear_layers(unpruned)
    if rounded is not None:  # quantised layers get no bias that they have not: it would have to be stored in their form
        layers = tuple(replace(layer, can_bias=layer.bias is not None) for layer in layers)
    finder = Goals(unpruned)
    goals = [finder.goal(layer) for layer in layers]
    before = constant_tensors(unpruned)
    needed = [needs(unpruned, layer, goal) for layer, goal in zip(layers, goals, strict=True)]
    done = []
    with (
        Walk(unpruned, batches, keep=set().union(*needed), threads=threads) as old,
        Walk(repaired, batches, threads=threads) as new,
    ):
        for number, (layer, goal) in enumerate(zip(layers, goals, strict=True)):
            if progress is not None:
                progress("repair", number / len(layers))
            old.advance(max(layer.position, goal.position) + (not layer.is_inner))
            new.advance(layer.position)
            support = _support(layer, read_matrix(layer, before), read_matrix(layer, constant_tensors(repaired)))
            drawn = None if support is None else sampled(layer, goal, old, new, samples)
            if support is not None and drawn is not None:
                done.append(_repair_layer(repaired, layer, goal, support, *drawn, _FITS[how], choose, rounded))
            for name in needed[number].difference(*needed[number + 1 :]):
                old.release(name)
    return repaired, tuple(done)


def needs(model: onnx.ModelProto, layer: LinearLayer, goal: FitGoal) -> set[str]:
    """The values that a walk over `model` must hold for `values` of what the layer makes: the goal, or for a layer in a
    body all that the node reads in whose bodies it is."""
    return reads(model.graph.node[layer.position]) if layer.is_inner else {goal.value}


def sampled(layer: LinearLayer, goal: FitGoal, old: Walk, new: Walk, samples: int) -> tuple[Sample, Sample] | None:
    """The positions to fit on and to judge by; None where there are none, or onnxruntime cannot return what a body
    makes: rounds of a Loop may make values of several sizes."""
    try:
        return sample_layer(layer, goal, old, new, samples, seed=layer.position)
    except ModelError:
        if not layer.is_inner:
            raise
        return None


def _repair_layer(
    model: onnx.ModelProto,
    layer: LinearLayer,
    goal: FitGoal,
    support: tuple[Array, Array],
    fit: Sample,
    held: Sample,
    method: Callable[[Sample, Sample, Tail, Array, Array], Array],
    choose: Choose | None,
    rounded: Rounded | None,
) -> LayerRepair:
    alive, outputs = support
    tail, carries = goal.tail(layer.group)
    start = read_matrix(layer, constant_tensors(model))
    if not fit.x.shape[1]:  # one row for all inputs: it is held out, and there is nothing to fit on
        error = _error(held, goal, tail, start)
        return LayerRepair(layer.weight, error, error)
    chosen = None if choose is None else choose(layer, fit, held, tail, start)
    if chosen is not None:
        alive = alive & chosen
        start = start * alive[..., None]
    before = _error(held, goal, tail, start)
    if chosen is None and before < _ROUNDING:
        return LayerRepair(layer.weight, before, before)
    matrix = method(fit, held, tail, start, alive)
    matrix = np.where(carries & outputs[:, None, :], matrix, start)
    if rounded is not None and (matrix != start).any():
        weight, bias = layer.tensors(matrix)
        matrix = layer.matrix(rounded(layer.weight, weight), bias)
        if not _error(held, goal, tail, matrix) < before:
            matrix = start
    if chosen is not None or (matrix != start).any():
        write_matrix(model, layer, matrix)
    return LayerRepair(layer.weight, before, _error(held, goal, tail, matrix))


def _error(held: Sample, goal: FitGoal, tail: Tail, matrix: Array) -> float:
    """The root of the squared error with `matrix`, relative to the variation of the goal."""
    variation = float(np.clip(held.goal, goal.low, goal.high).var(axis=1, dtype=np.float64).sum()) or 1.0
    return float(np.sqrt(float(held.error(matrix, tail).sum()) / variation))


def _support(layer: LinearLayer, old: Array, new: Array) -> tuple[Array, Array] | None:
    """Masks of the rows (group, K) and outputs (group, M) that may change.

    None if `new` has zeros, not in `old`, that are neither whole rows nor whole outputs.
    """
    gone = (new == 0) & (old != 0)
    rows, outputs = np.asarray(~new.any(axis=2)), np.asarray(~new.any(axis=1))
    if (gone & ~rows[..., None] & ~outputs[:, None, :]).any():
        return None
    rows[:, -1] = not layer.can_bias
    return ~rows, ~outputs


def read_matrix(layer: LinearLayer, tensors: Mapping[str, onnx.TensorProto]) -> Array:
    """The weight and bias of `layer`, as `write_matrix` takes them."""
    bias = None if layer.bias is None else numpy_helper.to_array(tensors[layer.bias])
    return layer.matrix(numpy_helper.to_array(tensors[layer.weight]), bias)


def write_matrix(model: onnx.ModelProto, layer: LinearLayer, matrix: Array) -> None:
    """Replace the weight and bias of `layer` in `model` by `matrix`, (group, K, M), whose last row is the bias."""
    weight, bias = layer.tensors(matrix)
    tensors = constant_tensors(model)
    store(tensors[layer.weight], weight)
    if layer.bias is not None:
        store(tensors[layer.bias], bias)
    elif layer.can_bias and bias.any():
        _add_bias(model, layer, bias.astype(numpy_helper.to_array(tensors[layer.weight]).dtype))


def store(tensor: onnx.TensorProto, values: Array) -> None:
    """Replace the values of `tensor` by `values`, in the shape and element type of the tensor."""
    known = numpy_helper.to_array(tensor)
    stored = numpy_helper.from_array(values.reshape(known.shape).astype(known.dtype), tensor.name)
    stored.doc_string = tensor.doc_string
    tensor.CopyFrom(stored)


def _add_bias(model: onnx.ModelProto, layer: LinearLayer, bias: Array) -> None:
    node = placed_nodes(model)[layer.place].node
    stem, taken = f"{layer.weight}_bias", _taken(model)
    name = next(name for name in chain([stem], (f"{stem}_{number}" for number in count(1))) if name not in taken)
    model.graph.initializer.append(numpy_helper.from_array(bias, name))
    del node.input[2:]
    node.input.append(name)


def _taken(model: onnx.ModelProto) -> set[str]:
    graphs, nodes = flat_graphs(model), all_nodes(model)
    names = {name for node in nodes for name in (*node.input, *node.output)}
    return names | {value.name for graph in graphs for value in (*graph.input, *graph.output, *graph.initializer)}
