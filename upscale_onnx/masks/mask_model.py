"""Pruning a model by writing zeros into a copy of its weights. What the zeros allow is for the compile to find."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import external_data_helper, numpy_helper

from upscale_onnx.errors import ArgumentError, ModelError, did_you_mean
from upscale_onnx.masks.apply import zero_channels
from upscale_onnx.masks.checks import check_masks
from upscale_onnx.masks.choose import Chooser
from upscale_onnx.masks.criteria import criterion
from upscale_onnx.masks.files import ChannelMask, read_masks
from upscale_onnx.masks.pools import Groups, Scores
from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.targets import MaskTarget, constant_tensors, mask_targets
from upscale_onnx.options import Options, PruneOptions, Side
from upscale_onnx.types import Array, BoolArray, FloatArray


@dataclass(frozen=True)
class _Edit:
    """Zeros to write: into `target` along its axis of `side` where `kept` is False."""

    target: MaskTarget
    side: Side
    kept: BoolArray


def mask_model(
    model: onnx.ModelProto, options: Options, groups: Groups = (), scores: Scores | None = None
) -> tuple[onnx.ModelProto, int]:
    """A copy of `model` with the channels that `options` prunes zeroed, and their number.

    Where they prune nothing it is `model` itself and 0. `model` is never changed, and only weights that are masked
    are encoded anew. Channels are scored and chosen once; goals of size and rounds are not looked at.

    groups: for method "constrained", sets of weights that must agree: per weight its name and the class id of
    each of its channels of `options.side`. Weights in no group choose for themselves. scores: by weight, for
    criteria that need more than the weight; weights that are not in it are left alone.

    A channel pruned on the output side loses its row and its bias, so that the node emits a constant 0 there;
    a bias that other nodes use too, or that an Add or a BatchNormalization brings behind the node, stays, and
    the channel is then a constant of another value.

    Raises: ArgumentError where an option or the mask file cannot be used; ModelError where a weight's
    external data was not loaded.
    """
    check_masks(options)
    if not options.prune.prunes:
        return model, 0
    targets = {target.weight: target for target in mask_targets(model)}
    if options.prune.mask is not None:
        edits = list(_edits_of_file(options.prune.mask, targets, options.prune.side))
    else:
        edits = list(_edits_by_score(model, targets, options.prune, groups, scores))
    return _written(model, edits)


def _edits_of_file(path: str, targets: Mapping[str, MaskTarget], side: Side) -> Iterator[_Edit]:
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
        yield _Edit(target, chosen, _resolved(path, mask, target, chosen))


def _resolved(path: str, mask: ChannelMask, target: MaskTarget, side: Side) -> BoolArray:
    try:
        return mask.resolve(target.channels(side))
    except ArgumentError as error:
        raise ArgumentError(f"{path}: {error} on the {side} side of {target.op_type} {target.node!r}") from error


def _unknown(weight: str, targets: Iterable[str]) -> str:
    hint = did_you_mean(weight, targets)
    return f"no Conv, ConvTranspose, Gemm or MatMul has a constant floating-point weight {weight!r}{hint}"


def channel_scores(model: onnx.ModelProto, options: PruneOptions, given: Scores | None = None) -> dict[str, FloatArray]:
    """Scores by weight, for those to which an amount applies: one per channel of `options.side`.

    given: the scores, where they do not come from weights alone; weights that it lacks get none.

    Raises: ArgumentError where there is no such criterion; ModelError where a weight's external data was not
    loaded.
    """
    targets = prunable_targets(model, options.side)
    if given is not None:
        return {target.weight: given[target.weight] for target in targets if target.weight in given}
    score = criterion(options.criterion)
    rng = np.random.default_rng(options.seed)
    tensors = constant_tensors(model)
    scores: dict[str, FloatArray] = {}
    for target in targets:
        axis = target.axis(options.side)
        if axis is not None:
            scores[target.weight] = score(_array(tensors[target.weight]), axis, rng)
    return scores


def chooser(
    model: onnx.ModelProto,
    options: PruneOptions,
    groups: Groups = (),
    structures: Mapping[str, Hashable] | None = None,
) -> Chooser:
    """What chooses by `options` among the weights of `model` to which an amount applies.

    groups: of weights that must agree. structures: by weight, for scope "isomorphic".
    """
    named = [target for target in mask_targets(model) if target.axis(options.side) is not None]
    layers = [target.weight for target in prunable_targets(model, options.side)]
    return Chooser(options, layers, named, groups, structures or {})


def write_masks(
    model: onnx.ModelProto, masks: Mapping[str, BoolArray], side: Side = "input"
) -> tuple[onnx.ModelProto, int]:
    """A copy of `model` with `masks` (by weight, True = kept) written into it, and how many channels they prune."""
    edits = [_Edit(target, side, masks[target.weight]) for target in mask_targets(model) if target.weight in masks]
    return _written(model, edits)


def _edits_by_score(
    model: onnx.ModelProto,
    targets: Mapping[str, MaskTarget],
    options: PruneOptions,
    groups: Groups,
    given: Scores | None,
) -> Iterator[_Edit]:
    scores = channel_scores(model, options, given)
    agreeing = groups if options.method == "constrained" else ()
    for weight, kept in chooser(model, options, agreeing).masks(scores, options.amount or 0.0).items():
        yield _Edit(targets[weight], options.side, kept)


def _written(model: onnx.ModelProto, edits: Sequence[_Edit]) -> tuple[onnx.ModelProto, int]:
    masked = onnx.ModelProto()
    masked.CopyFrom(model)
    tensors = constant_tensors(masked)
    for edit in edits:
        _write(edit, tensors)
    return masked, sum(int(np.count_nonzero(~edit.kept)) for edit in edits)


def _write(edit: _Edit, tensors: Mapping[str, onnx.TensorProto]) -> None:
    axis = edit.target.axis(edit.side)
    if axis is None or edit.kept.all():
        return
    _zero(tensors[edit.target.weight], axis, edit.kept)
    if edit.side == "output" and edit.target.bias is not None:
        _zero(tensors[edit.target.bias], -1, edit.kept)


def _zero(tensor: onnx.TensorProto, axis: int, kept: BoolArray) -> None:
    zeroed = numpy_helper.from_array(zero_channels(_array(tensor), axis, kept), tensor.name)
    zeroed.doc_string = tensor.doc_string
    tensor.CopyFrom(zeroed)


def _array(tensor: onnx.TensorProto) -> Array:
    # onnx would look for the data in the working directory.
    if external_data_helper.uses_external_data(tensor):
        raise ModelError(f"the data of {tensor.name!r} is in another file and was not loaded: load the model with it")
    return numpy_helper.to_array(tensor)
