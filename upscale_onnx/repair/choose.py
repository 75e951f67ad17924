"""Chooses channels to prune by the cost of their removal after the other weights of the layer are re-fitted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.errors import ModelError
from upscale_onnx.masks.criteria import obs
from upscale_onnx.masks.groups import mask_groups
from upscale_onnx.masks.targets import constant_tensors, mask_targets
from upscale_onnx.repair.fit import Sample, Solver, Tail
from upscale_onnx.repair.layers import linear_layers
from upscale_onnx.repair.linear import LinearLayer
from upscale_onnx.repair.sampling import sample_moments
from upscale_onnx.runtime.activations import sample_count
from upscale_onnx.runtime.walk import Walk
from upscale_onnx.types import Array, BoolArray, FloatArray

_DAMPINGS = (1e-6, 1e-3, 1e-1)


def obs_scores(
    model: onnx.ModelProto, batches: Sequence[Mapping[str, Array]], threads: int = 1
) -> dict[str, FloatArray]:
    """By weight, the score of each input channel, (C_in,), by optimal brain surgeon on what the layer reads in `model`.

    Where there are several matrices, it is that of what goes from all. Channels of a grouped convolution follow one
    another group by group. Depthwise convolutions, layers other than Conv, Gemm and MatMul, and shared weights are left
    out.
    """
    several = {target.weight for target in mask_targets(model) if target.matrices > 1}
    found = matrix_scores(model, batches, threads)
    return {
        weight: np.sqrt(np.square(each).sum(0)) if weight in several else each.ravel() for weight, each in found.items()
    }


def matrix_scores(
    model: onnx.ModelProto,
    batches: Sequence[Mapping[str, Array]],
    threads: int = 1,
    only: Collection[str] | None = None,
) -> dict[str, FloatArray]:
    """By weight, what `obs_scores` is made of, a row of scores for each matrix or group. only: the weights to score;
    None scores all."""
    samples = sample_count(batches)
    tensors = constant_tensors(model)
    scores = {}
    with Walk(model, batches, threads=threads) as walk:
        for layer in linear_layers(model):
            if layer.is_depthwise or not (only is None or layer.weight in only):
                continue
            walk.advance(layer.position)
            matrix = layer.matrix(numpy_helper.to_array(tensors[layer.weight]), None)
            moments = _moments(layer, walk, samples)
            if moments is None:
                continue
            pairs = zip(moments, matrix, strict=True)
            scores[layer.weight] = np.stack([obs.score(own, rows, layer.channels, layer.block) for own, rows in pairs])
    return scores


def _moments(layer: LinearLayer, walk: Walk, samples: int) -> Array | None:
    """Those of what the layer reads; None where a body is not run, or onnxruntime cannot return what it makes."""
    try:
        return sample_moments(layer, walk, samples, seed=layer.position)
    except ModelError:
        if not layer.is_inner:
            raise
        return None


@dataclass(frozen=True, eq=False)
class ObsChoice:
    """Chooses the input channels of each layer to prune, on values of the pruned network.

    counts: by weight, how many channels to prune.
    importance: by weight, how much each output matters, (M,).
    settled: by weight that does not choose for itself, as those that share channels with a grouped convolution, what is
    left of it.
    """

    counts: Mapping[str, int]
    importance: Mapping[str, FloatArray]
    settled: Mapping[str, Array]

    def __call__(self, layer: LinearLayer, fit: Sample, held: Sample, tail: Tail, start: Array) -> BoolArray | None:
        """The rows of the layer's matrix to keep, (group, K); None if the layer loses none.

        A choice is made for each damping of the moments. The one with the least error on `held` after the other rows
        are re-fitted is returned.
        """
        count = self.counts.get(layer.weight, 0)
        if layer.weight in self.settled:
            rows = np.asarray(layer.matrix(self.settled[layer.weight], None).any(axis=2))
            rows[:, -1] = layer.can_bias
            return rows
        if layer.group > 1 or not count:
            return None
        importance = self.importance.get(layer.weight, np.ones(1))
        outputs = np.abs(tail.scale.reshape(-1)) * np.sqrt(importance)
        everything = np.asarray(start.any(axis=2))  # channels that the model came without stay out
        everything[:, -1] = layer.can_bias
        count += int((~everything[0, :-1].reshape(layer.channels, layer.block).any(axis=1)).sum())
        cross = fit.cross(fit.wanted(tail))
        solver = Solver(fit.moments, everything)
        best, least = everything, np.inf
        for damping in _DAMPINGS:
            full = solver.solve(cross, start, damping)
            damped = fit.moments[0] + damping * np.trace(fit.moments[0]) / start.shape[1] * np.eye(start.shape[1])
            kept = obs.keep(damped, full[0] * outputs, layer.channels, layer.block, count)
            alive = everything.copy()
            alive[0, :-1] &= np.repeat(kept, layer.block)
            if (alive == best).all():
                continue
            refitted, _ = Solver(fit.moments, alive).best(cross, start * alive[..., None], held, tail)
            error = float((held.error(refitted, tail) * importance).sum())
            if error < least:
                best, least = alive, error
        return best


def obs_choice(analysis: Analysis, model: onnx.ModelProto, masked: onnx.ModelProto) -> ObsChoice:
    """The choice of as many channels of each weight of `model` as `masked` prunes. `analysis` is that of `model`.

    The importance of a channel is the sum, over the layers that read it, of the squared weights that read it and that
    `masked` keeps, relative to all squared weights of the layer.
    """
    counts = pruned_counts(model, masked)
    importance = np.zeros(analysis.live.size)
    known = np.zeros(analysis.live.size, np.bool_)
    shares = _shares(model, masked)
    made = {}
    for step in analysis.steps:
        flow = step.flow
        weight = step.inputs[1] if len(step.inputs) > 1 else ""
        if flow.dense is None or weight not in shares:
            continue
        if flow.outputs[0] is not None:
            made[weight] = flow.outputs[0].labels.ravel()
        sources = flow.dense.sources
        if sources.size == shares[weight].size:
            np.add.at(importance, sources, shares[weight])
            known[sources] = True
    found = {}
    for weight, labels in made.items():
        if known[labels].all() and importance[labels].any():
            found[weight] = importance[labels] / importance[labels].max()
    zeroed = constant_tensors(masked)
    several = {target.weight for target in mask_targets(model) if target.matrices > 1}
    tied = {weight for group in mask_groups(analysis, model, "input", "unconstrained") for weight, _ in group}
    settled = {weight: numpy_helper.to_array(zeroed[weight]) for weight in several | tied}
    return ObsChoice(counts, found, settled)


def pruned_counts(model: onnx.ModelProto, masked: onnx.ModelProto) -> dict[str, int]:
    """By weight, how many input channels are zero in `masked` and not in `model`."""
    tensors, zeroed = constant_tensors(model), constant_tensors(masked)
    counts = {}
    for target in mask_targets(model):
        if target.input_axis is not None:
            before, after = (_rows(each[target.weight], target.input_axis).any(axis=1) for each in (tensors, zeroed))
            counts[target.weight] = int((before & ~after).sum())
    return counts


def _shares(model: onnx.ModelProto, masked: onnx.ModelProto) -> dict[str, FloatArray]:
    """By weight, the squared norm of each input channel relative to that of the whole weight; 0 for pruned channels."""
    tensors, zeroed = constant_tensors(model), constant_tensors(masked)
    found = {}
    for target in mask_targets(model):
        if target.input_axis is not None:
            kept = _rows(zeroed[target.weight], target.input_axis).any(axis=1)
            squares = np.square(_rows(tensors[target.weight], target.input_axis).astype(np.float64)).sum(axis=1)
            found[target.weight] = kept * squares / max(float(squares.sum()), 1e-30)
    return found


def _rows(weight: onnx.TensorProto, axis: int) -> Array:
    """The weight as a matrix with one row per channel along `axis`."""
    return np.moveaxis(numpy_helper.to_array(weight), axis, 0).reshape(weight.dims[axis], -1)
