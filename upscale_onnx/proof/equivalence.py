"""The proof that two models compute the same: globally, on inputs of the whole model, and locally, region by region."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.model.on_disk import weights_on_disk
from upscale_onnx.options import Proof
from upscale_onnx.proof.by_claims import prove
from upscale_onnx.proof.by_names import prove_by_names
from upscale_onnx.results import Claim, LocalProof, Verification
from upscale_onnx.runtime.inputs import Inputs, feasible_inputs
from upscale_onnx.runtime.interface import interface_difference
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.verify import verify
from upscale_onnx.worker import in_worker


def compare_models(
    original: ModelProto,
    compiled: ModelProto,
    claims: Mapping[str, Claim] | None = None,
    *,
    proofs: Collection[Proof] = ("local", "global"),
    provider: Device = "cpu",
    seed: int = 0,
    reproducers: str | None = None,
    **checks: Any,
) -> Verification:
    """Check that `compiled` computes the same as `original`, by each of `proofs`.

    claims: what the compiled model holds of the original's values. Without claims, the models are cut at values with
    the same name.
    reproducers: a folder. Regions that differ are written to it.
    checks: more arguments of the global check, `runtime.verify.verify`.

    Raises:
        ArgumentError: the given inputs do not fit the original.
        ModelError: the original does not run in onnxruntime, and the local proof is not complete either.
    """
    with weights_on_disk(original) as first, weights_on_disk(compiled) as second:
        return _compared(first, second, claims, tuple(proofs), provider, seed, reproducers, checks)


@in_worker
def _compared(
    original: ModelProto,
    compiled: ModelProto,
    claims: Mapping[str, Claim] | None,
    proofs: Collection[Proof],
    provider: Device,
    seed: int,
    reproducers: str | None,
    checks: Mapping[str, Any],
) -> Verification:
    feeds: list[Inputs] = []
    local = _Local(original, compiled, claims, seed, reproducers)
    if "local" not in proofs:
        return verify(original, compiled, provider=provider, seed=seed, **checks)
    if "global" not in proofs:
        found = _unchecked(original, compiled, provider)
        return found if found.detail else _with_local(found, local.wherever_it_runs())
    try:
        found = verify(original, compiled, provider=provider, seed=seed, feeds=feeds, **checks)
    except ModelError as error:
        proof = local.wherever_it_runs()
        if not proof.complete:
            raise
        detail = f"shown by the local proof alone: {error}"
        return replace(_unchecked(original, compiled, provider), equal=True, detail=detail, local=proof)
    if not feeds:  # the interfaces of the models differ
        return found
    return _with_local(found, local.proof(feeds[0]))


def _unchecked(original: ModelProto, compiled: ModelProto, provider: Device) -> Verification:
    """A verification without trials; its detail says how the interfaces of the models differ."""
    detail = interface_difference(original, compiled)
    return Verification(not detail, 0.0, (), 0, (), provider, detail)


@dataclass(frozen=True, eq=False)
class _Local:
    """The arguments of a local proof, and ways to run it."""

    original: ModelProto
    compiled: ModelProto
    claims: Mapping[str, Claim] | None
    seed: int
    reproducers: str | None

    def wherever_it_runs(self) -> LocalProof:
        """The proof for the input sizes with which most regions can be run. The whole model need not run.

        Raises:
            ModelError: no random values can be drawn for the inputs.
        """
        found: list[LocalProof] = []

        def attempt(feed: Inputs) -> None:
            found.append(self.proof(feed))
            if found[-1].unrunnable and not found[-1].refuted:
                raise ModelError(found[-1].unrunnable[0].detail)

        try:
            feasible_inputs(attempt, self.original, seed=self.seed)
        except ModelError:
            if not found:
                raise
        return min(found, key=lambda proof: len(proof.unrunnable))

    def proof(self, feed: Inputs) -> LocalProof:
        """The local proof; `feed` gives the shapes of the model's inputs."""
        if self.claims is None:
            return prove_by_names(self.original, self.compiled, feed, seed=self.seed)
        return prove(self.original, self.compiled, self.claims, feed, seed=self.seed, reproducers=self.reproducers)


def _with_local(found: Verification, local: LocalProof) -> Verification:
    """`found` with the local proof, which can refute it. Without trials, only a complete local proof shows equality."""
    if found.undecided and local.complete:
        return replace(found, equal=True, detail=f"shown by the local proof alone: {found.detail}", local=local)
    equal = found.equal and not local.refuted and (found.trials > 0 or local.complete)
    detail = found.detail
    if found.equal and not equal:
        first = (local.refuted or local.unrunnable)[0]
        detail = f"the region that makes '{first.value}' was not shown equal: {first.detail}"
    return replace(found, equal=equal, detail=detail, local=local)
