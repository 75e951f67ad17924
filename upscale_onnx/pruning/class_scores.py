"""Scores that depend on classes: by the gradients of a loss, and by how channels differ between classes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.criteria import taylor, tvs
from upscale_onnx.masks.pools import Scores
from upscale_onnx.masks.targets import MaskTarget
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.bodies import all_nodes
from upscale_onnx.model.stats import node_macs
from upscale_onnx.options import Side
from upscale_onnx.pruning.activations import Observed, Places, observed, over_observed
from upscale_onnx.pruning.criteria import settings_of
from upscale_onnx.pruning.evidence import Evidence
from upscale_onnx.runtime.activations import batches_of, elements_of_all, has_fixed_batch, value_batches
from upscale_onnx.types import Array, FloatArray, IntArray

if TYPE_CHECKING:
    from upscale_onnx.torch_backend.gates import Gate

Batches = Sequence[Mapping[str, Array]]

# Limit of a batch while gradients are computed, which keep every value of the model, and gated ones twice.
_GRADIENT_BYTES = 2**29


def taylor_scores(evidence: Evidence, weights: Collection[str] | None = None) -> Scores:
    """The estimated change of the loss without each channel, by weight, for criterion "taylor".

    weights: those to score; None scores all. Gradients of few, late layers take less time.

    The loss is the cross-entropy of the first output with the labels, or with the classes that the model predicts where
    there are none, or the squared norm of an output without classes.

    Raises: ArgumentError where PyTorch is missing or cannot run the model, or labels do not fit.
    """
    try:
        from upscale_onnx.torch_backend.gates import Gate, Gates
    except ImportError as error:
        raise ArgumentError("criterion 'taylor' needs PyTorch: pip install 'upscale-onnx[torch]'") from error
    model, side, targets, name = evidence.model, evidence.side, evidence.targets, evidence.options.prune.criterion
    assert isinstance(name, str)
    chosen = taylor.settings(settings_of(name))
    gates: dict[str, list[Gate]] = {}
    for weight, place, reader in _places(evidence):
        if weights is not None and weight not in weights:
            continue
        gates.setdefault(weight, []).append(Gate(place.value, place.axis, reader))
    network = Gates(model, list(dict.fromkeys(gate for several in gates.values() for gate in several)))
    totals: dict[str, FloatArray] = {}
    samples = dict.fromkeys(gates, 0)
    for batch, own in _pieces(model, evidence.batches, evidence.labels):
        changes = network.changes(batch, own)
        for weight, several in gates.items():
            if all(gate in changes for gate in several):
                found = sum(changes[gate] for gate in several)
                assert isinstance(found, np.ndarray)
                totals[weight] = totals.get(weight, np.zeros(())) + taylor.measure(found, chosen.power)
                samples[weight] += found.shape[0]
    prices = _megaflops(model, side, targets) if chosen.flops else {}
    return {
        weight: taylor.score(total, samples[weight], prices.get(weight, 0.0), chosen)
        for weight, total in totals.items()
    }


def tvs_scores(evidence: Evidence) -> Scores:
    """By weight, how well each channel separates classes: those of the labels, or without them those that the model
    predicts.

    Raises: ArgumentError where there are no two classes of two samples, or no labels and nothing that predicts them.
    """
    model, batches, threads = evidence.model, evidence.batches, evidence.threads
    known = predicted_labels(model, batches, threads) if evidence.labels is None else evidence.labels
    names, classes = np.unique(known, return_inverse=True)
    if np.count_nonzero(np.bincount(classes.ravel()) >= 2) < 2:
        raise ArgumentError("criterion 'tvs' needs at least two classes with two samples each: give more samples")
    return over_observed(evidence, partial(_tvs, evidence, classes.ravel().astype(np.int64), names.size))


def _tvs(evidence: Evidence, classes: IntArray, count: int, places: Places) -> Scores:
    """The scores by the class, from 0 to `count` - 1, of each sample."""
    sums: dict[Observed, tvs.Sums] = {}
    names = list({place.value: None for place in places.values()})
    values = value_batches(evidence.model, names, evidence.batches, evidence.threads)
    for found, own in zip(values, _cut(classes, evidence.batches), strict=True):
        for place in dict.fromkeys(places.values()):
            maps = np.moveaxis(found[place.value], place.axis, 1)
            if not maps.size or maps.shape[0] % own.size:
                continue  # rows are not samples, or a branch was not taken
            rows = np.repeat(own, maps.shape[0] // own.size)
            more = tvs.measure(maps, rows, count)
            sums[place] = sums[place] + more if place in sums else more
    return {weight: tvs.score(sums[place]) for weight, place in places.items() if place in sums}


def predicted_labels(model: onnx.ModelProto, batches: Batches, threads: int = 1) -> IntArray:
    """The class of each sample by the model's own first output, (samples, classes).

    Raises: ArgumentError where that output has another shape.
    """
    name = model.graph.output[0].name
    found = []
    for values in value_batches(model, [name], batches, threads):
        if values[name].ndim != 2 or values[name].shape[1] < 2:
            raise ArgumentError(
                f"there are no labels, and output {name!r} of shape {values[name].shape} is not (samples, classes): "
                "add labels to the calibration data, as an array 'y'"
            )
        found.append(values[name].argmax(axis=1))
    return np.concatenate(found).astype(np.int64)


def _places(evidence: Evidence) -> Iterator[tuple[str, Observed, str]]:
    """Each use of a weight: its name, the value that holds the channels, and the first output of the node that reads
    it; "" where what is made counts, for all who read it."""
    first = observed(evidence)
    if evidence.side == "output":
        yield from ((weight, place, "") for weight, place in first.items())
        return
    for node in all_nodes(evidence.model):
        weight = node.input[1] if len(node.input) > 1 else ""
        if weight in first:
            yield weight, replace(first[weight], value=node.input[0]), node.output[0]


def _pieces(
    model: onnx.ModelProto, batches: Batches, labels: IntArray | None
) -> Iterator[tuple[Mapping[str, Array], IntArray | None]]:
    """Batches with their labels, cut small enough for gradients where the model leaves the batch size open."""
    fixed = has_fixed_batch(model)
    size = int(np.clip(_GRADIENT_BYTES // (8 * elements_of_all(model)), 1, 2**16))
    own = _cut(labels, batches) if labels is not None else [None] * len(batches)
    for batch, some in zip(batches, own, strict=True):
        pieces = (batch,) if fixed else batches_of(batch, size)
        parts = [None] * len(pieces) if some is None else _cut(some, pieces)
        yield from zip(pieces, parts, strict=True)


def _cut(labels: IntArray, batches: Batches) -> list[IntArray]:
    sizes = [max(array.shape[0] for array in batch.values() if array.ndim) for batch in batches]
    return np.split(labels, np.cumsum(sizes)[:-1])


def _megaflops(model: onnx.ModelProto, side: Side, targets: Mapping[str, MaskTarget]) -> dict[str, float]:
    """The cost of one channel for one sample, in millions of floating-point operations, by weight."""
    shapes = infer_shapes(model)
    first = shapes.get(model.graph.input[0].name)
    batch = first.dims[0] if first is not None and first.dims else 1
    samples = batch if isinstance(batch, int) and batch > 0 else 1
    found = dict.fromkeys(targets, 0.0)
    for node in all_nodes(model):
        for name in set(node.input[:2]) & targets.keys():
            found[name] += 2e-6 * node_macs(node, shapes) / samples / targets[name].channels(side)
    return found
