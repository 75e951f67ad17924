"""The local proof of two models without a certificate: the claims are derived from the values of both models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto

from upscale_onnx.proof.compare import has_few_entries, is_float, tolerance, wrong
from upscale_onnx.proof.local import Proof
from upscale_onnx.proof.outcome import RegionOutcome
from upscale_onnx.proof.regions import Network, Region
from upscale_onnx.proof.values import fed_shapes, floating_values
from upscale_onnx.results import Claim, LocalProof
from upscale_onnx.types import Array, BoolArray, IntArray
from upscale_onnx.worker import in_worker

# If this many pairs of values with the same name have no channel in common, names mean different things in both models.
_MOST_STRANGERS = 32
# Channels along two axes are chosen over channels along one if they leave at most this share of entries unexplained.
_CLEARLY_LESS = 0.75
_MOST_CHANNELS = 1 << 16
# How many more draws tell channels apart if each channel has few entries.
_MORE_DRAWS = 12
# How often an output is proven again without the guesses that its region reads. After that, all guesses are given up.
_FEW_RETRIES = 2
_MOST_SEARCHED = 1 << 9


@in_worker
def prove_by_names(a: ModelProto, b: ModelProto, feed: Mapping[str, Any], *, seed: int = 0) -> LocalProof:
    """Check that `b` computes the same as `a`. Both are cut at values with the same name, in graph order.

    Channels are recognised by their values, even if some are missing or the order differs. A channel that differs is
    drawn separately for each model in all later regions, so that the proof holds only if no result depends on it.

    feed: a value for each graph input, as for `prove`.
    """
    kinds = floating_values(fed_shapes(a, feed))
    claims = {name: Claim((1,) * kind.rank) for name, kind in kinds.items()}
    wrong_ones: list[RegionOutcome] = []
    proof = Proof(Network(a), Network(b), claims, feed, seed, wrong_ones.append)
    done: set[str] = set()
    guesses: set[str] = set()
    strangers = retries = 0
    while rest := [region for region in proof.regions if region.target not in done]:
        region = rest[0]
        done.add(region.target)
        wrong_ones.clear()
        proof.prove([region])
        if region.target not in proof.refuted:
            continue
        if region.target in proof.original.outputs:
            # A wrong guess may be the cause. Prove the output again without the guesses it reads, at last without any.
            guesses &= proof.types.keys()
            if near := guesses & region.sources:
                retries += 1
                del proof.refuted[region.target]
                done.remove(region.target)
                proof.join(near if retries <= _FEW_RETRIES else guesses)
            continue
        found = _channels(proof, region, wrong_ones)
        if found is not None:
            del proof.refuted[region.target]
            claims[region.target] = found.claim
            guesses |= set() if found.sure else {region.target}
            proof.prove([region])
        if region.target in proof.refuted:
            del proof.refuted[region.target]
            strangers += 1
            proof.join({region.target} if strangers < _MOST_STRANGERS else proof.types.keys() - done | {region.target})
    return proof.outcome()


def _channels(proof: Proof, region: Region, outcomes: Sequence[RegionOutcome]) -> _Recognised | None:
    """The channels that are recognised in the target of a region. More draws, if needed, are added to `outcomes`."""
    found = None if has_few_entries(np.shape(outcomes[0].expected)) else _recognised(outcomes)
    if found is not None and found.sure:
        return found
    proof.draw_again(region, _MORE_DRAWS if found is None else 1)
    return _recognised(outcomes)


class _Recognised(NamedTuple):
    """Which channels a compiled value holds. sure: each of them is recognised and differs from all that are missing."""

    claim: Claim
    sure: bool


def _recognised(outcomes: Sequence[RegionOutcome]) -> _Recognised | None:
    """For each channel of the compiled value, the channel of the original that it is; None if none is recognised.

    outcomes: the outcomes of one value, from several draws.
    """
    expected, actual = outcomes[0].expected, outcomes[0].actual
    if not is_float(expected) or not is_float(actual) or expected.ndim != actual.ndim:
        return None
    open_axes = [axis for axis, size in enumerate(expected.shape) if max(size, actual.shape[axis]) > 1]
    differ = {axis for axis in open_axes if expected.shape[axis] != actual.shape[axis]}
    best: _Recognised | None = None
    for count in (1, 2):  # behind a Reshape, channels may lie along two axes
        for axes in combinations(open_axes, count):
            if differ <= set(axes) and math.prod(expected.shape[axis] for axis in axes) <= _MOST_CHANNELS:
                best = _better(best, _along(outcomes, axes))
    return best if best is not None and _missing(best.claim) < 1 else None


def _better(best: _Recognised | None, other: _Recognised) -> _Recognised:
    """The claim that leaves less unexplained. More axes must be clearly better: some entries always agree by chance."""
    if best is None:
        return other
    share = 1.0 if _axes(other.claim) == _axes(best.claim) else _CLEARLY_LESS
    return other if _missing(other.claim) < share * _missing(best.claim) else best


def _axes(claim: Claim) -> int:
    return sum(size > 1 for size in claim.sizes)


def _missing(claim: Claim) -> float:
    """The share, 0 to 1, of the compiled value's channels that the claim says nothing about."""
    return 1.0 if claim.held is None or not claim.held.size else float((claim.held < 0).mean())


def _along(outcomes: Sequence[RegionOutcome], axes: tuple[int, ...]) -> _Recognised:
    """What is recognised if the channels lie along `axes`."""
    alike = [outcome for outcome in outcomes if outcome.expected.shape == outcomes[0].expected.shape]
    before, after = outcomes[0].expected.shape, outcomes[0].actual.shape
    sizes = tuple(size if axis in axes else 1 for axis, size in enumerate(before))
    expected = np.hstack([_rows(outcome.expected, axes) for outcome in alike])
    actual = np.hstack([_rows(outcome.actual, axes) for outcome in alike])
    allowed = np.hstack([_allowed(outcome, sizes, axes) for outcome in alike])
    settled = np.where((expected == expected[:, :1]).all(1), expected[:, 0], np.nan).astype(np.float64)
    if expected.shape[1] == 1:  # a single number does not show that the channel is constant
        settled[:] = np.nan
    searches = len(axes) == 1 or len(actual) <= _MOST_SEARCHED
    held = _places(expected, actual, allowed, np.isfinite(settled), searches)
    shape = tuple(size if axis in axes else 1 for axis, size in enumerate(after))
    varies = np.isnan(settled)
    sure = bool((held >= 0).all()) and not _have_twins(expected[varies], np.isin(np.flatnonzero(varies), held))
    return _Recognised(Claim(sizes, held.reshape(shape), settled.reshape(sizes)), sure)


def _have_twins(rows: Array, held: BoolArray) -> bool:
    """Whether any row that is `held` equals a row that is not."""
    if held.all():
        return False
    _, group = np.unique(rows, axis=0, return_inverse=True)
    return bool(np.isin(group[held], group[~held]).any())


def _places(expected: Array, actual: Array, allowed: Array, settled: BoolArray, searches: bool) -> IntArray:
    """For each row of `actual`, the index of the row of `expected` that it equals, or -1.

    The row at the same index is preferred. Other rows are tried only if `searches`. Rows that are `settled`, hence
    constant, may be used several times, all others once.
    """
    found = np.full(len(actual), -1)
    if expected.shape == actual.shape:
        found = np.where(wrong(expected, actual, allowed).any(1), -1, np.arange(len(actual)))
    if not searches:
        return found
    weights = np.random.default_rng(0).standard_normal(expected.shape[1])
    with np.errstate(all="ignore"):
        marks, wanted = expected.astype(np.float64) @ weights, actual.astype(np.float64) @ weights
    if not marks.size:
        return found
    order = np.argsort(marks, kind="stable")
    ranked = marks[order]
    taken = set(found[found >= 0].tolist())
    for row in np.flatnonzero(found < 0):
        near = np.searchsorted(ranked, wanted[row])
        # The neighbours on both sides, and all rows equal to these: several channels may be equal.
        start = np.searchsorted(ranked, ranked[max(near - 1, 0)])
        end = np.searchsorted(ranked, ranked[min(near, len(ranked) - 1)], "right")
        for place in order[start:end].tolist():
            if (settled[place] or place not in taken) and not wrong(expected[place], actual[row], allowed[place]).any():
                found[row] = place
                taken.add(place)
                break
    return found


def _allowed(outcome: RegionOutcome, sizes: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    per_channel = tolerance(outcome.expected, outcome.moved, Claim(sizes)).ravel()
    rows = _rows(outcome.expected, axes)
    return np.broadcast_to(per_channel[:, None] if per_channel.size == len(rows) else per_channel.min(), rows.shape)


def _rows(value: Array, axes: tuple[int, ...]) -> Array:
    """`value` as a matrix with one row per channel, where `axes` are the channel axes."""
    first = np.moveaxis(value, axes, range(len(axes)))
    return first.reshape(math.prod(first.shape[: len(axes)]), -1)
