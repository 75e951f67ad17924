"""An export and its proof. Nodes of a region that is not shown equal are left alone, and the rest is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from upscale_onnx.errors import NotEquivalentError, Reason
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import Exported, export
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.operators import FRAGILE
from upscale_onnx.options import Options
from upscale_onnx.race.contest import Outcome
from upscale_onnx.results import Claim, Refusal, Verification

# Regions that are left alone give their neighbours other things to do.
_MOST_ROUNDS = 4
# Of calibration data, this many are compared on.
_SAMPLES = 2


@dataclass(frozen=True, eq=False)
class Proven:
    """What is written, how it was shown equal, what it claims, and the nodes that were left alone for it."""

    model: onnx.ModelProto
    verification: Verification | None
    claims: Mapping[str, Claim]
    refusals: tuple[Refusal, ...] = ()


def proven(original: onnx.ModelProto, outcome: Outcome, options: Options) -> Proven:
    """The winner of a contest, shown to compute what `original` does.

    Raises:
        NotEquivalentError: it could not be shown equal. ModelError: `original` cannot be run.
    """
    if not options.verify:
        return Proven(outcome.model, None, {})
    if outcome.making is None:
        whole = replace(options, proofs=("global",))
        return Proven(outcome.model, _verified(original, outcome.made, whole), {})
    made = outcome.made
    draft: Draft | None = None
    for _ in range(_MOST_ROUNDS):
        verification = _verified(original, made, options)
        suspects = frozenset[str]() if verification.equal else _suspects(original, verification)
        alone = draft.alone if draft is not None else frozenset()
        if suspects <= alone:
            break
        draft = Draft(original, infer_shapes(original), alone=alone | suspects)
        made = export(outcome.making, draft)
    if not verification.equal:
        raise NotEquivalentError(
            f"the compiled model is not equal to its input, nothing is written: {verification.detail}"
        )
    found = draft.analysis.refusals if draft is not None else ()
    return Proven(
        made.model, verification, made.claims, tuple(item for item in found if item.reason is Reason.NOT_SHOWN_EQUAL)
    )


def _suspects(original: onnx.ModelProto, verification: Verification) -> frozenset[str]:
    """The values in regions that were refuted. Where all are proven and the whole still differs, it is by NaN or
    infinity, which regions are not fed: then the results of operators that may make these of numbers."""
    refuted = verification.local.refuted if verification.local is not None else ()
    if refuted:
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
        proofs=options.proofs,
        provider=resolve_provider(options.provider),
        seed=options.seed,
        reproducers=options.save_reproducer,
        inputs=None if options.inputs is None else load_inputs(options.inputs, original),
        data=_samples(original, options),
    )


def _samples(model: onnx.ModelProto, options: Options) -> list[Mapping[str, np.ndarray[Any, Any]]]:
    """The first samples of the calibration data, where there is some: inputs as the model gets them."""
    if options.calibration is None:
        return []
    from upscale_onnx.runtime.activations import has_fixed_batch
    from upscale_onnx.runtime.samples import load_calibration

    first = load_calibration(options.calibration, model)[0]
    if has_fixed_batch(model):
        return [first]
    return [{name: array[:_SAMPLES] if array.ndim else array for name, array in first.items()}]
