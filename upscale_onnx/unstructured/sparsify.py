"""Pruning chosen tensors of a model by a pattern."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import onnx

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.files.arrays import read_arrays
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.model import Model, load_model
from upscale_onnx.options import Side
from upscale_onnx.results import Sparsified
from upscale_onnx.types import Array, BoolArray
from upscale_onnx.unstructured.parameters import Kind, Parameter, choose, parameters
from upscale_onnx.unstructured.patterns import (
    STRUCTURED,
    Pattern,
    custom_from_mask,
    l1_unstructured,
    ln_structured,
    random_structured,
    random_unstructured,
)
from upscale_onnx.unstructured.zeros import read, write_zeros

Custom = Callable[[Array, BoolArray, np.random.Generator], Array]
Arrays = str | os.PathLike[str] | Mapping[str, Array]
"""Arrays by the names of tensors, or the path of an .npz with them."""


@dataclass(frozen=True)
class Sparsifying:
    """What to prune, and how.

    pattern: a name, or a function of (values, mask of what an earlier pruning kept, generator) that returns a mask
        with the shape of the values, True or 1 = kept.
    amount: a share if it is a float, a number of entries or channels if it is an int; None if `pattern` is a function.
    n: the norm of "ln-structured".
    side, dim: the channels of structured patterns: those on a side of the node, or along an axis of the tensor.
    is_global: rank the entries of all chosen tensors together (only "random" and "l1").
    layers, ignore: glob patterns for names of tensors or of nodes that use them.
    kinds: weights, biases or both.
    keep_zeros: existing zeros count as pruned before; the amount refers to the other entries.

    >>> from upscale_onnx import Sparsifying
    >>> Sparsifying(pattern="ln-structured", amount=0.25, side="input").n
    1.0
    """

    pattern: Pattern | Custom = "l1"
    amount: float | None = None
    n: float = 1.0
    side: Side = "output"
    dim: int | None = None
    is_global: bool = False
    layers: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ("weight",)
    keep_zeros: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        named = isinstance(self.pattern, str)
        known = ("random", "l1", *STRUCTURED)
        if named and self.pattern not in known:
            hint = did_you_mean(self.pattern, known)
            raise ArgumentError(f"no pattern called {self.pattern!r}: use random, l1, {' or '.join(STRUCTURED)}{hint}")
        if named and self.amount is None:
            raise ArgumentError(f"pattern {self.pattern!r} needs an amount: say how much to prune")
        if not named and self.amount is not None:
            raise ArgumentError("a pattern that is a function decides how much to prune: leave the amount out")
        if self.is_global and self.pattern not in ("random", "l1"):
            raise ArgumentError("only entries are ranked globally: use pattern random or l1")
        if np.isnan(self.n):
            raise ArgumentError("n is not a number: give the n of the norm, such as 1, 2 or inf")


def sparsify(
    model: Model,
    pruning: Sparsifying | None = None,
    scores: Arrays | None = None,
    *,
    masks: Arrays | None = None,
    **settings: Any,
) -> Sparsified:
    """`model` with the zeros that `pruning`, or else `masks`, asks for. Each tensor is pruned once, even if several
    nodes use it.

    scores: by tensor name, arrays with the shapes of the tensors, to rank by in place of the tensors; or the path of an
        .npz with them.
    masks: likewise, 0 = pruned, in place of all other arguments.
    settings: fields of `Sparsifying`, in place of those of `pruning`.

    Raises:
        ArgumentError: a setting cannot be used, a tensor cannot be pruned this way, or no tensor is chosen.
        ModelError: the model cannot be read.

    >>> import upscale_onnx
    >>> found = upscale_onnx.sparsify("models/digits_cnet_masked.onnx", amount=0.5, layers=("*.0.weight",))
    >>> print(found)
    91,224 weights of 5 tensors are pruned
    tensor               pruned    size  share
    features.0.0.weight     216     432    0.5
    features.1.0.weight  10,368  20,736    0.5
    features.3.0.weight  17,280  34,560    0.5
    features.4.0.weight  28,800  57,600    0.5
    features.6.0.weight  34,560  69,120    0.5
    """
    loaded = load_model(model)
    if masks is None:
        return _sparsified(loaded, _chosen(pruning, settings), _arrays(scores or {}))
    if pruning is not None or settings or scores is not None:
        raise ArgumentError("masks decide alone what to prune: leave out the other arguments")
    return _masked(loaded, _arrays(masks))


def _chosen(pruning: Sparsifying | None, settings: Mapping[str, Any]) -> Sparsifying:
    names = [part.name for part in fields(Sparsifying)]
    for name in settings:
        if name not in names:
            raise ArgumentError(f"{name!r} is no setting here: use {', '.join(names)}{did_you_mean(name, names)}")
    return Sparsifying(**settings) if pruning is None else replace(pruning, **settings)


def _arrays(given: Arrays) -> Mapping[str, Array]:
    return given if isinstance(given, Mapping) else read_arrays(given)


def _sparsified(model: onnx.ModelProto, pruning: Sparsifying, scores: Mapping[str, Array]) -> Sparsified:
    found = choose(parameters(model), pruning.layers, pruning.ignore, pruning.kinds)
    skipped = tuple(p.name for p in found if _has_no_channels(p, pruning))
    if len(skipped) == len(found):
        raise ArgumentError(f"none of the chosen tensors has {pruning.side} channels: choose others, or a dim")
    chosen = [p for p in found if p.name not in skipped]
    tensors = constant_tensors(model)
    values = {p.name: read(tensors[p.name], p.name) for p in chosen}
    before = {name: array.astype(np.bool_) for name, array in values.items()} if pruning.keep_zeros else {}
    ranked = {**values, **_fitting(scores, values)}
    rng = np.random.default_rng(pruning.seed)
    if pruning.is_global:
        masks = _global_masks(ranked, before, pruning, rng)
    else:
        masks = {p.name: _named(p.name, _mask, ranked[p.name], before.get(p.name), p, pruning, rng) for p in chosen}
    return Sparsified(write_zeros(model, masks), masks, skipped)


def _masked(model: onnx.ModelProto, masks: Mapping[str, Array]) -> Sparsified:
    tensors = constant_tensors(model)
    known = [parameter.name for parameter in parameters(model)]
    for name in masks:
        if name not in known:
            raise ArgumentError(f"the model has no weight or bias {name!r}{did_you_mean(name, known)}")
    chosen = {name: _named(name, custom_from_mask, read(tensors[name], name), masks[name]) for name in masks}
    return Sparsified(write_zeros(model, chosen), chosen)


def _mask(
    array: Array, before: BoolArray | None, parameter: Parameter, pruning: Sparsifying, rng: np.random.Generator
) -> BoolArray:
    if callable(pruning.pattern):
        kept = np.ones(array.shape, np.bool_) if before is None else before
        return custom_from_mask(array, np.asarray(pruning.pattern(array, kept, rng)), before)
    amount = pruning.amount or 0
    if pruning.pattern == "random":
        return random_unstructured(array, amount, rng, before)
    if pruning.pattern == "l1":
        return l1_unstructured(array, amount, before)
    axis = parameter.axis(pruning.side) if pruning.dim is None else pruning.dim
    assert axis is not None  # tensors without such an axis are skipped
    if pruning.pattern == "random-structured":
        return random_structured(array, amount, axis, rng, before)
    return ln_structured(array, amount, pruning.n, axis, before)


def _global_masks(
    ranked: Mapping[str, Array], before: Mapping[str, BoolArray], pruning: Sparsifying, rng: np.random.Generator
) -> dict[str, BoolArray]:
    amount = pruning.amount or 0
    flat = np.concatenate([_ranks(array) for array in ranked.values()])
    kept = np.concatenate([before[name].ravel() for name in ranked]) if before else None
    whole = random_unstructured(flat, amount, rng, kept) if pruning.pattern == "random" else None
    whole = l1_unstructured(flat, amount, kept) if whole is None else whole
    parts = np.split(whole, np.cumsum([array.size for array in ranked.values()])[:-1])
    return {name: part.reshape(array.shape) for (name, array), part in zip(ranked.items(), parts, strict=True)}


def _ranks(array: Array) -> Array:
    """`array` flat, as float32 or float64: numpy has no common type for arrays of both half precisions."""
    return array.ravel().astype(np.float64 if array.dtype == np.float64 else np.float32)


def _has_no_channels(parameter: Parameter, pruning: Sparsifying) -> bool:
    return pruning.pattern in STRUCTURED and pruning.dim is None and parameter.axis(pruning.side) is None


def _fitting(scores: Mapping[str, Array], values: Mapping[str, Array]) -> Mapping[str, Array]:
    for name, array in scores.items():
        if name not in values:
            raise ArgumentError(f"scores are given for {name!r}, which is not pruned{did_you_mean(name, values)}")
        if array.shape != values[name].shape or array.dtype.kind not in "iuf":
            raise ArgumentError(f"the scores of {name!r} are {array.dtype} of shape {array.shape}: the tensor differs")
    return scores


def _named(name: str, make: Callable[..., BoolArray], *args: Any) -> BoolArray:
    """The result of `make(*args)`. Its errors get the name of the tensor."""
    try:
        return make(*args)
    except ArgumentError as error:
        raise ArgumentError(f"{name!r}: {error}") from error
