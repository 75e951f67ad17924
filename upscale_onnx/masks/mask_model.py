"""Pruning a model by writing zeros into a copy of its weights. The compile finds out what the zeros allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnx
from onnx import external_data_helper, numpy_helper

from upscale_onnx.errors import ArgumentError, ModelError, did_you_mean
from upscale_onnx.masks.apply import zero_channels
from upscale_onnx.masks.expert_weight import ExpertWeight
from upscale_onnx.masks.files import ChannelMask, read_masks
from upscale_onnx.masks.pools import Masks
from upscale_onnx.masks.targets import MaskTarget, constant_tensors, mask_targets
from upscale_onnx.options import Side
from upscale_onnx.types import Array, BoolArray

# Zeros to write into a target, along its axis of the side, where the mask is False: one for all of its matrices, or one
# for each.
_Edit: TypeAlias = tuple[MaskTarget, Side, BoolArray]


def write_masks(model: onnx.ModelProto, masks: Masks, side: Side = "input") -> tuple[onnx.ModelProto, int]:
    """Return a copy of `model` with `masks` written into it, and the number of channels that they prune.

    Only masked weights are encoded anew. A channel pruned on the output side loses its row and its bias, so that the
    node emits a constant 0 there. A bias stays where other nodes use it too, or where it comes from a later Add or
    BatchNormalization; the channel is then another constant.

    Raises: ModelError where a weight's external data was not loaded.
    """
    return _written(model, [(t, side, masks[t.weight]) for t in mask_targets(model) if t.weight in masks])


def masked_by_file(
    model: onnx.ModelProto, path: str, side: Side, stored: Mapping[str, object] | None = None
) -> tuple[onnx.ModelProto, int]:
    """Return what `write_masks` does, for the masks in the file at `path`. `side` holds for masks that state no side.
    stored: how the weights of `model` are stored, if it is the view of another, whose channels the masks are about.

    Raises: ArgumentError where the file cannot be used. ModelError: as `write_masks`.
    """
    targets = {target.weight: target for target in mask_targets(model)}
    return _written(model, list(_edits_of_file(path, targets, side, stored or {})))


def weight_array(tensor: onnx.TensorProto) -> Array:
    """The values of a weight.

    Raises: ModelError where the values are in another file and were not loaded.
    """
    # onnx would look for the data in the working directory.
    if external_data_helper.uses_external_data(tensor):
        raise ModelError(f"the data of {tensor.name!r} is in another file and was not loaded: load the model with it")
    return numpy_helper.to_array(tensor)


def _edits_of_file(
    path: str, targets: Mapping[str, MaskTarget], side: Side, stored: Mapping[str, object]
) -> Iterator[_Edit]:
    seen: set[tuple[str, Side]] = set()
    for mask in read_masks(path):
        target = targets.get(mask.weight)
        if target is None:
            raise ArgumentError(f"{path}: {_unknown(mask.weight, targets)}")
        chosen = mask.side or side
        if target.axis(chosen) is None:
            raise ArgumentError(f"{path}: {mask.weight!r} ({target.op_type}) has no axis of {chosen} channels to mask")
        if (mask.weight, chosen) in seen:
            raise ArgumentError(f"{path}: the {chosen} channels of {mask.weight!r} are masked twice")
        seen.add((mask.weight, chosen))
        kept, held = _resolved(path, mask, target, chosen), stored.get(mask.weight)
        yield target, chosen, held.viewed(kept, chosen) if isinstance(held, ExpertWeight) else kept


def _resolved(path: str, mask: ChannelMask, target: MaskTarget, side: Side) -> BoolArray:
    try:
        return mask.resolve(target.channels(side), target.matrices)
    except ArgumentError as error:
        raise ArgumentError(f"{path}: {error} on the {side} side of {target.op_type} {target.node!r}") from error


def _unknown(weight: str, targets: Iterable[str]) -> str:
    hint = did_you_mean(weight, targets)
    return f"no Conv, ConvTranspose, Gemm, MatMul, Einsum or MoE has a constant weight {weight!r}{hint}"


def _written(model: onnx.ModelProto, edits: Sequence[_Edit]) -> tuple[onnx.ModelProto, int]:
    masked = onnx.ModelProto()
    masked.CopyFrom(model)
    tensors = constant_tensors(masked)
    for target, side, kept in edits:
        _write(target, side, kept, tensors)
    return masked, sum(int(np.count_nonzero(~kept)) for _, _, kept in edits)


def _write(target: MaskTarget, side: Side, kept: BoolArray, tensors: Mapping[str, onnx.TensorProto]) -> None:
    axis = target.axis(side)
    if axis is None or kept.all():
        return
    weight = tensors[target.weight]
    turned = target.turned(weight_array(weight), side)
    _store(weight, target.turned(_zeroed(turned, axis, kept), side))
    if side == "output" and target.bias is not None:
        bias = tensors[target.bias]
        _store(bias, _zeroed(weight_array(bias), -1, kept))


def _zeroed(weight: Array, axis: int, kept: BoolArray) -> Array:
    if kept.ndim == 1:
        return zero_channels(weight, axis, kept)
    return np.stack([zero_channels(own, axis - 1, row) for own, row in zip(weight, kept, strict=True)])


def _store(tensor: onnx.TensorProto, array: Array) -> None:
    stored = numpy_helper.from_array(array, tensor.name)
    stored.doc_string = tensor.doc_string
    tensor.CopyFrom(stored)
