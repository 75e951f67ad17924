"""The proof that two models compute the same: globally, on inputs of the whole model, and locally, region by region."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.options import Proof
from upscale_onnx.proof.certificate import Claim
from upscale_onnx.proof.local import prove
from upscale_onnx.proof.observe import prove_by_names
from upscale_onnx.results import LocalProof, Verification
from upscale_onnx.runtime.inputs import Inputs, random_inputs
from upscale_onnx.runtime.interface import interface_difference
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.verify import verify
from upscale_onnx.worker import in_worker


@in_worker
def compare_models(
    original: ModelProto,
    compiled: ModelProto,
    claims: Mapping[str, Claim] | None = None,
    *,
    proofs: Collection[Proof] = ("local", "global"),
    provider: Device = "cpu",
    seed: int = 0,
    **checks: Any,
) -> Verification:
    """Whether `compiled` computes what `original` does, by each of `proofs`.

    claims: what the compiled model holds of the original's values; without them, models are cut where values have one
    name. checks: further arguments of the global check, `runtime.verify.verify`.

    Raises:
        ArgumentError: inputs that were given do not fit. ModelError: the original does not run.
    """
    feeds: list[Inputs] = []
    if "local" not in proofs:
        return verify(original, compiled, provider=provider, seed=seed, **checks)
    if "global" not in proofs:
        found = _unchecked(original, compiled, provider)
        return found if found.detail else _with_local(found, _local(original, compiled, claims, None, seed))
    try:
        found = verify(original, compiled, provider=provider, seed=seed, feeds=feeds, **checks)
    except ModelError as error:
        local = _local(original, compiled, claims, None, seed)
        if not local.complete:
            raise
        detail = f"shown by the local proof alone: {error}"
        return replace(_unchecked(original, compiled, provider), equal=True, detail=detail, local=local)
    if not feeds:  # the models differ in what callers see
        return found
    return _with_local(found, _local(original, compiled, claims, feeds[0], seed))


def _unchecked(original: ModelProto, compiled: ModelProto, provider: Device) -> Verification:
    """A verification without a trial; its detail says where the models differ in what callers see."""
    detail = interface_difference(original, compiled)
    return Verification(not detail, 0.0, (), 0, (), provider, detail)


def _local(
    original: ModelProto, compiled: ModelProto, claims: Mapping[str, Claim] | None, feed: Inputs | None, seed: int
) -> LocalProof:
    feed = random_inputs(original, seed=seed) if feed is None else feed
    if claims is None:
        return prove_by_names(original, compiled, feed, seed=seed)
    return prove(original, compiled, claims, feed, seed=seed)


def _with_local(found: Verification, local: LocalProof) -> Verification:
    """`found` with the local proof: it may show that the models differ, and must show all where nothing else does."""
    if found.undecided and local.complete:
        return replace(found, equal=True, detail=f"shown by the local proof alone: {found.detail}", local=local)
    equal = found.equal and not local.refuted and (found.trials > 0 or local.complete)
    detail = found.detail
    if found.equal and not equal:
        first = (local.refuted or local.unrunnable)[0]
        detail = f"the region that makes '{first.value}' was not shown equal: {first.detail}"
    return replace(found, equal=equal, detail=detail, local=local)
