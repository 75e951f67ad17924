"""Proves an export. The nodes of regions that are not shown equal are left alone, and the rest is compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from upscale_onnx.errors import NotEquivalentError, Reason
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import Exported, export
from upscale_onnx.masks.silenced import silenced
from upscale_onnx.model import Shape, infer_shapes
from upscale_onnx.model.operators import FRAGILE
from upscale_onnx.options import Options, PruneOptions
from upscale_onnx.racing.contest import Outcome
from upscale_onnx.results import Claim, Refusal, Unproven, Verification

# After regions are left alone, their neighbours change, too, and may fail in the next round.
_MOST_ROUNDS = 4
# How many samples of the calibration data are compared.
_SAMPLES = 2
_INFINITE = (
    "for some inputs it makes infinities, and these times zero weights are NaN: a smaller model would return numbers"
)


@dataclass(frozen=True, eq=False)
class Proven:
    """A proven export.

    model: the model to write.
    original: the model that it computes the same as.
    verification: the proof; None if none was asked for.
    claims: what the model holds of the original's values, by name.
    shapes: those of all values of the model; None where they have to be inferred.
    refusals: the nodes that were left alone because they were not shown equal.
    """

    model: onnx.ModelProto
    original: onnx.ModelProto
    verification: Verification | None
    claims: Mapping[str, Claim]
    shapes: Mapping[str, Shape] | None
    refusals: tuple[Refusal, ...] = ()


def proven(original: onnx.ModelProto, outcome: Outcome, options: Options) -> Proven:
    """The winner of a contest, shown to compute the same as `original`.

    Where channels that were chosen by scores overflow, the rows that make them become zeros in `original`, too.

    Raises:
        NotEquivalentError: the winner could not be shown equal.
        ModelError: `original` cannot be run.
    """
    if not options.proof.verify:
        return Proven(outcome.model, original, None, {}, outcome.made.shapes)
    if outcome.making is None:
        whole = options.replaced(proofs=("global",))
        return Proven(outcome.model, original, _verified(original, outcome.made, whole), {}, outcome.made.shapes)
    made = outcome.made
    draft: Draft | None = None
    infinite = False
    for _ in range(_MOST_ROUNDS):
        verification = _verified(original, made, options)
        suspects = frozenset[str]() if verification.equal else _suspects(original, verification)
        alone = draft.alone if draft is not None else frozenset()
        if suspects <= alone:
            break
        overflows = not _refuted(verification)
        quiet = silenced(original) if overflows and options.prune.scores_channels else None
        if quiet is not None:
            original, suspects = quiet, frozenset()
        infinite |= overflows and quiet is None
        draft = Draft(original, infer_shapes(original), alone=alone | suspects)
        made = export(outcome.making, draft)
    if not verification.equal:
        raise NotEquivalentError(
            f"the compiled model is not equal to its input, nothing is written: {verification.detail}"
        )
    found = draft.analysis.refusals if draft is not None else ()
    left = tuple(item for item in found if item.reason is Reason.NOT_SHOWN_EQUAL)
    if infinite:
        left = tuple(replace(item, detail=_INFINITE) if item.op_type in FRAGILE else item for item in left)
    return Proven(made.model, original, verification, made.claims, made.shapes, left)


def _refuted(verification: Verification) -> Sequence[Unproven]:
    return verification.local.refuted if verification.local is not None else ()


def _suspects(original: onnx.ModelProto, verification: Verification) -> frozenset[str]:
    """The values in regions that were refuted.

    If all regions are proven and the models still differ, the cause is NaN or infinity, which regions are not fed. Then
    the results of all operators that may make these from finite numbers are returned.
    """
    if refuted := _refuted(verification):
        return frozenset(value for region in refuted for value in region.inside)
    return frozenset(name for node in original.graph.node if node.op_type in FRAGILE for name in node.output)


def _verified(original: onnx.ModelProto, made: Exported, options: Options) -> Verification:
    from upscale_onnx.proof.equivalence import compare_models
    from upscale_onnx.runtime.providers import resolve_provider
    from upscale_onnx.runtime.user_inputs import load_inputs

    return compare_models(
        original,
        made.model,
        made.claims,
        proofs=options.proof.proofs,
        provider=resolve_provider(options.target.provider),
        seed=options.proof.seed,
        reproducers=options.proof.save_reproducer,
        inputs=None if options.proof.inputs is None else load_inputs(options.proof.inputs, original),
        data=_samples(original, options.prune),
    )


def _samples(model: onnx.ModelProto, options: PruneOptions) -> list[Mapping[str, np.ndarray[Any, Any]]]:
    """The first samples of the calibration data, if there is any, as inputs by name."""
    if options.calibration is None:
        return []
    from upscale_onnx.runtime.activations import has_fixed_batch
    from upscale_onnx.runtime.samples import load_calibration

    first = load_calibration(options.calibration, model)[0]
    if has_fixed_batch(model):
        return [first]
    return [{name: array[:_SAMPLES] if array.ndim else array for name, array in first.items()}]
