"""The local proof of two models that no certificate speaks of: claims are what their values turn out to share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from upscale_onnx.claims import Claim
from upscale_onnx.proof.compare import Array, is_float, tolerance, wrong
from upscale_onnx.proof.local import Outcome, Proof
from upscale_onnx.proof.regions import Network
from upscale_onnx.proof.values import floating_values
from upscale_onnx.results import LocalProof
from upscale_onnx.worker import in_worker

# Where so many values of one name have nothing in common, the names do not mean the same in both models.
_MOST_STRANGERS = 32


@in_worker
def prove_by_names(a: ModelProto, b: ModelProto, feed: Mapping[str, Any], *, seed: int = 0) -> LocalProof:
    """Whether `b` computes what `a` does, cut where values of both have one name, in graph order.

    Channels are recognised by their values, also where some are missing or the order is another one. A channel that
    differs in the two is from there on drawn for each by itself: the proof holds only if nobody reads it.
    """
    kinds = floating_values(a, feed)
    claims = {name: Claim((1,) * kind.rank) for name, kind in kinds.items()}
    wrong_ones: list[Outcome] = []
    proof = Proof(Network(a), Network(b), claims, feed, seed, wrong_ones.append)
    done: set[str] = set()
    strangers = 0
    while rest := [region for region in proof.regions if region.target not in done]:
        region = rest[0]
        done.add(region.target)
        wrong_ones.clear()
        proof.prove([region])
        if region.target in proof.original.outputs or region.target not in proof.refuted:
            continue
        claim = _recognised(wrong_ones)
        if claim is not None:
            del proof.refuted[region.target]
            claims[region.target] = claim
            proof.prove([region])
        if region.target in proof.refuted:
            del proof.refuted[region.target]
            strangers += 1
            proof.join({region.target} if strangers < _MOST_STRANGERS else proof.types.keys() - done | {region.target})
    return proof.outcome()


def _recognised(outcomes: Sequence[Outcome]) -> Claim | None:
    """Which channel of the original each channel of the compiled value is; None where none is recognised.

    outcomes: of one value, from different draws.
    """
    expected, actual = outcomes[0].expected, outcomes[0].actual
    if not is_float(expected) or not is_float(actual) or expected.ndim != actual.ndim:
        return None
    differ = [axis for axis in range(expected.ndim) if expected.shape[axis] != actual.shape[axis]]
    axes = differ or [axis for axis, size in enumerate(expected.shape) if size > 1]
    found = max((_along(outcomes, axis) for axis in axes if len(differ) <= 1), key=_share, default=None)
    return found if found is not None and _share(found) > 0 else None


def _share(claim: Claim) -> float:
    """The share of the compiled value's channels of which something is claimed."""
    return 0.0 if claim.held is None or not claim.held.size else float((claim.held >= 0).mean())


def _along(outcomes: Sequence[Outcome], axis: int) -> Claim:
    """The claim that channels lie along `axis`."""
    alike = [outcome for outcome in outcomes if outcome.expected.shape == outcomes[0].expected.shape]
    sizes = tuple(size if a == axis else 1 for a, size in enumerate(outcomes[0].expected.shape))
    expected = np.hstack([_rows(outcome.expected, axis) for outcome in alike])
    actual = np.hstack([_rows(outcome.actual, axis) for outcome in alike])
    allowed = np.hstack([_allowed(outcome, sizes, axis) for outcome in alike])
    settled = np.where((expected == expected[:, :1]).all(1), expected[:, 0], np.nan).astype(np.float64)
    held = _places(expected, actual, allowed, np.isfinite(settled))
    shape = tuple(len(actual) if a == axis else 1 for a in range(len(sizes)))
    return Claim(sizes, held.reshape(shape), settled.reshape(sizes))


def _places(expected: Array, actual: Array, allowed: Array, settled: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Per row of `actual` the row of `expected` that it is, -1 where it is none: its own where that is right, and of
    several that are one constant any, but no other row twice."""
    found = np.full(len(actual), -1)
    if expected.shape == actual.shape:
        found = np.where(wrong(expected, actual, allowed).any(1), -1, np.arange(len(actual)))
    weights = np.random.default_rng(0).standard_normal(expected.shape[1])
    with np.errstate(all="ignore"):
        marks, wanted = expected.astype(np.float64) @ weights, actual.astype(np.float64) @ weights
    order = np.argsort(marks)
    taken = set(found[found >= 0].tolist())
    for row in np.flatnonzero(found < 0):
        near = np.searchsorted(marks[order], wanted[row])
        for place in order[max(near - 1, 0) : near + 1].tolist():
            if (settled[place] or place not in taken) and not wrong(expected[place], actual[row], allowed[place]).any():
                found[row] = place
                taken.add(place)
                break
    return found


def _allowed(outcome: Outcome, sizes: tuple[int, ...], axis: int) -> Array:
    per_channel = tolerance(outcome.expected, outcome.moved, Claim(sizes)).ravel()
    rows = _rows(outcome.expected, axis)
    return np.broadcast_to(per_channel[:, None] if per_channel.size == len(rows) else per_channel.min(), rows.shape)


def _rows(value: Array, axis: int) -> Array:
    return np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)
