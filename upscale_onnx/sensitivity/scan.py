"""The scan: prune one layer at a time, measure the loss, and find how much of each layer may be pruned.

Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from onnx import ModelProto, TensorProto, numpy_helper

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.apply import used_channels
from upscale_onnx.masks.expert_weight import ExpertWeight
from upscale_onnx.masks.float_view import FloatView, float_view
from upscale_onnx.masks.patterns import matches
from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.targets import MaskTarget, constant_tensors
from upscale_onnx.measures.measure import Measure
from upscale_onnx.options import Options, PruneOptions
from upscale_onnx.pruning.prune import prune
from upscale_onnx.results import LayerSensitivity, Sensitivity
from upscale_onnx.types import Progress


def scan_layers(
    model: ModelProto,
    measure: Measure,
    amounts: Sequence[float],
    options: Options | None = None,
    *,
    tolerated: float,
    layers: Sequence[str] = (),
    progress: Progress | None = None,
) -> Sensitivity:
    """Measure the loss when one layer of `model` alone is pruned, for each layer and each of `amounts` (0 to 1).

    options: the criterion with its data, the side and the seed.
    tolerated: the largest allowed loss.
    layers: glob patterns of names of weights or of nodes; without them, all layers that can be pruned.
    progress: is called with the name of a weight, and the share (0 to 1) of the scan that is done.

    Only the tensors of one layer are exchanged at a time, so memory holds three models for any number of layers.

    Raises:
        ArgumentError: an amount is out of range, a pattern matches nothing, or data that the criterion needs is
            missing.
    """
    wanted = options or Options()
    steps = tuple(sorted(set(amounts)))
    if not steps or not all(0 < amount < 1 for amount in steps):
        raise ArgumentError("amounts are fractions above 0 and below 1: give at least one")
    if not 0 <= tolerated < math.inf:
        raise ArgumentError(f"the tolerated loss is {tolerated}: it is a number of at least 0")
    view = float_view(model)
    targets = _chosen(model if view is None else view.model, wanted.prune, layers)
    found: list[list[tuple[int, float]]] = [[] for _ in targets]
    variant = ModelProto()
    variant.CopyFrom(model)
    for round_, amount in enumerate(steps):
        masked = prune(model, wanted.replaced(amount=amount, masks="flat")).model
        dense = constant_tensors(masked if view is None else view.read(masked))
        for number, target in enumerate(targets):
            if progress is not None:
                progress(target.weight, (round_ * len(targets) + number) / (len(steps) * len(targets)))
            weight, side = numpy_helper.to_array(dense[target.weight]), wanted.prune.side
            kept = int(used_channels(target.turned(weight, side), target.axis(side)).sum())
            if found[number] and found[number][-1][0] == kept:  # no more is pruned than by the amount before
                found[number].append(found[number][-1])
                continue
            with _exchanged(variant, masked, _stored(target, view)) as changed:
                found[number].append((kept, measure.value(variant) if changed else measure.baseline))
    return Sensitivity(
        measure=measure.name,
        samples=measure.samples,
        baseline=measure.baseline,
        tolerated=tolerated,
        side=wanted.prune.side,
        criterion=wanted.prune.criterion if isinstance(wanted.prune.criterion, str) else "custom",
        amounts=steps,
        layers=tuple(
            _layer(target, target.channels(wanted.prune.side), results, steps, measure, tolerated)
            for target, results in zip(targets, found, strict=True)
        ),
    )


def tolerated_steps(losses: Sequence[float], tolerated: float) -> int:
    """How many of `losses` are tolerated before the first that is not. NaN is not tolerated."""
    return next((i for i, loss in enumerate(losses) if not loss <= tolerated), len(losses))


def _layer(
    target: MaskTarget,
    channels: int,
    results: Sequence[tuple[int, float]],
    amounts: Sequence[float],
    measure: Measure,
    tolerated: float,
) -> LayerSensitivity:
    losses = tuple(measure.loss(value) for _, value in results)
    steps = tolerated_steps(losses, tolerated)
    return LayerSensitivity(
        weight=target.weight,
        node=target.node,
        op_type=target.op_type,
        channels=channels,
        kept=tuple(kept for kept, _ in results),
        values=tuple(value for _, value in results),
        losses=losses,
        largest_amount=amounts[steps - 1] if steps else 0.0,
        keep_ratio=results[steps - 1][0] / channels if steps else 1.0,
    )


def _stored(target: MaskTarget, view: FloatView | None) -> tuple[str, ...]:
    """The names of the tensors that hold the target's weight and bias."""
    held = None if view is None else view.weights.get(target.weight)
    own = (target.weight, target.bias or "")
    return tuple(filter(None, held.tensors if isinstance(held, ExpertWeight) else own))


def _chosen(model: ModelProto, options: PruneOptions, layers: Sequence[str]) -> tuple[MaskTarget, ...]:
    targets = prunable_targets(model, options.side)
    for pattern in layers:
        if not any(matches(target, pattern) for target in targets):
            raise ArgumentError(f"{pattern!r} is the name of no layer whose {options.side} channels are pruned")
    chosen = tuple(t for t in targets if not layers or any(matches(t, pattern) for pattern in layers))
    if not chosen:
        raise ArgumentError(f"the model has no layer whose {options.side} channels could be pruned")
    return chosen


@contextmanager
def _exchanged(variant: ModelProto, masked: ModelProto, tensors: Sequence[str]) -> Iterator[bool]:
    """A context in which `variant` has these tensors from `masked`. It yields whether they differ."""
    own, other = constant_tensors(variant), constant_tensors(masked)
    names = [name for name in tensors if own[name] != other[name]]
    originals = {name: TensorProto.FromString(own[name].SerializeToString()) for name in names}
    for name in names:
        own[name].CopyFrom(other[name])
    try:
        yield bool(names)
    finally:
        for name, tensor in originals.items():
            own[name].CopyFrom(tensor)
