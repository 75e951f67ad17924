"""Repairs all layers of a pruned network together, after each layer has been re-fitted by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.model.bodies import all_nodes, opened_nodes
from upscale_onnx.repair.goals import Goals
from upscale_onnx.repair.layers import linear_layers
from upscale_onnx.repair.linear import LinearLayer
from upscale_onnx.repair.repair import Rounded, store
from upscale_onnx.runtime.activations import batches_of, elements_of_all, has_fixed_batch, sample_count
from upscale_onnx.types import Array

Inputs = Mapping[str, Array]
Batch = Sequence[Inputs]

_PASSES = 30
_MOST_SAMPLES = 64
_LEAST_STEPS = 25  # of one pass
_HELD_EVERY = 16
_BYTES = 2**31
_BYTES_EACH = 32


def fitted_jointly(
    unpruned: onnx.ModelProto,
    pruned: onnx.ModelProto,
    batches: Sequence[Inputs],
    *,
    rounded: Rounded | None = None,
    progress: Callable[[float], None] | None = None,
    threads: int = 1,
    device: str = "cpu",
    passes: int = _PASSES,
) -> onnx.ModelProto:
    """A copy of `pruned` whose values are nearer to those of `unpruned`; the weights of all layers are fitted together.

    If it is not nearer on inputs held out, `pruned` itself is returned. Zeros stay.

    batches: inputs by name, samples along the first axis.
    rounded: what becomes of weights where they are stored in fewer numbers. Values are computed with rounded weights.
    progress: is called with the share, 0 to 1, of the fit that is done.
    device: "cpu", "cuda", or "auto" for a GPU where PyTorch has one.

    Raises: ArgumentError if PyTorch is missing or cannot run the model.
    """
    try:
        from upscale_onnx.torch_backend.devices import device_of
        from upscale_onnx.torch_backend.joint import Compared, JointFit
    except ImportError as error:
        raise ArgumentError("repair 'joint' needs PyTorch: pip install 'upscale-onnx[torch]'") from error
    fit, held = _divided(unpruned, batches)
    changed = _changed_values(unpruned, pruned)
    finder = Goals(unpruned)
    goals = {goal.value: goal for goal in map(finder.goal, linear_layers(unpruned)) if goal.value in changed}
    layers = [layer for layer in linear_layers(pruned) if layer.output in changed]
    if not goals or not layers:
        return pruned
    compared = [Compared(goal.value, goal.low, goal.high) for goal in goals.values()]
    joint = JointFit(unpruned, pruned, compared, _of_weights(rounded, layers), device_of(device))
    tensors = constant_tensors(pruned)
    names = [name for layer in layers for name in (layer.weight, layer.bias) if name is not None]
    start = {name: numpy_helper.to_array(tensors[name]) for name in names}
    found = joint.fitted(start, lambda: _shuffled(fit), passes * len(fit), threads=threads, progress=progress)
    judged = [piece for batch in held for piece in batch]
    if not joint.distance(judged, found) < joint.distance(judged, start):
        return pruned
    repaired = onnx.ModelProto()
    repaired.CopyFrom(pruned)
    tensors = constant_tensors(repaired)
    for name, array in found.items():
        store(tensors[name], array)
    return repaired


def _of_weights(rounded: Rounded | None, layers: Sequence[LinearLayer]) -> Rounded | None:
    """`rounded`, of the weights of layers alone: biases are stored in finer steps."""
    weights = {layer.weight for layer in layers}
    return None if rounded is None else lambda name, array: rounded(name, array) if name in weights else array


def _changed_values(unpruned: onnx.ModelProto, pruned: onnx.ModelProto) -> set[str]:
    """The constants of `pruned` that differ from those of `unpruned`, and all values that depend on them.

    All other values are unchanged and need no fit. This saves time, because the first values are the largest.
    """
    before, after = constant_tensors(unpruned), constant_tensors(pruned)
    changed = {name for name, tensor in after.items() if name not in before or tensor != before[name]}
    opened, nodes = opened_nodes(pruned), all_nodes(pruned)
    for _ in ("the first round of each body", "the next ones"):
        for node in nodes:
            if not changed.isdisjoint(node.input):
                changed.update(node.output)
        for _, body in (each for known in opened.values() for each in known.bodies):
            if not changed.isdisjoint(value.name for value in body.output):
                changed.update(value.name for value in body.input)
    return changed


def _divided(model: onnx.ModelProto, batches: Sequence[Inputs]) -> tuple[Sequence[Batch], Sequence[Batch]]:
    """Batches to fit on, and batches to judge by; each is cut into pieces that fit in memory."""
    if has_fixed_batch(model):
        cut: list[Batch] = [(batch,) for batch in batches]
    else:
        samples = sample_count(batches)
        size = max(min(_MOST_SAMPLES, samples // _LEAST_STEPS), 1)
        # Roughly, for one sample while gradients are computed: values and gradients in both networks.
        bytes_of_one = _BYTES_EACH * elements_of_all(model)
        piece = max(min(size, _BYTES // bytes_of_one), 1)
        cut = [batches_of(part, piece) for batch in batches for part in batches_of(batch, size)]
    held = cut[_HELD_EVERY - 1 :: _HELD_EVERY]
    fit = [batch for place, batch in enumerate(cut) if place % _HELD_EVERY != _HELD_EVERY - 1]
    return fit, held or fit


def _shuffled(batches: Sequence[Batch]) -> Iterator[Batch]:
    """Yields the batches endlessly, in a new order in each pass."""
    rng = np.random.default_rng(0)
    while True:
        for place in rng.permutation(len(batches)):
            yield batches[place]
