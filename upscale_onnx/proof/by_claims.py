"""The local proof of the claims of a compile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import ModelProto

from upscale_onnx.proof.local import Proof
from upscale_onnx.proof.outcome import RegionOutcome
from upscale_onnx.proof.regions import Network
from upscale_onnx.proof.reproducer import save_reproducers
from upscale_onnx.results import Claim, LocalProof
from upscale_onnx.worker import in_worker


@in_worker
def prove(
    original: ModelProto,
    compiled: ModelProto,
    claims: Mapping[str, Claim],
    feed: Mapping[str, Any],
    *,
    seed: int = 0,
    reproducers: str | None = None,
) -> LocalProof:
    """Check, region by region, that `compiled` computes the same as `original` and that all `claims` are true.

    feed: a value for each graph input. It gives the shapes, and the integers whose legal range is unknown.
    reproducers: a folder. Regions that differ are written to it, with the inputs that show the difference.
    """
    wrong: dict[str, RegionOutcome] = {}

    def watch(outcome: RegionOutcome) -> None:
        wrong.setdefault(outcome.region.target, outcome)

    proof = Proof(Network(original), Network(compiled), claims, feed, seed, watch)
    proof.run()
    if reproducers is not None:
        save_reproducers(proof, wrong, reproducers)
    return proof.outcome()
