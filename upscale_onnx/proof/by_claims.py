"""The local proof of what a compile claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import ModelProto

from upscale_onnx.proof.local import Outcome, Proof
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
    """Whether `compiled` computes what `original` does, region by region, if it holds what `claims` say.

    feed: a value for each graph input; shapes are taken from it, and integers where nothing shows their range.
    reproducers: folder in which regions that differ are written, with the inputs that show it.
    """
    wrong: dict[str, Outcome] = {}

    def watch(outcome: Outcome) -> None:
        wrong.setdefault(outcome.region.target, outcome)

    proof = Proof(Network(original), Network(compiled), claims, feed, seed, watch)
    proof.run()
    if reproducers is not None:
        save_reproducers(proof, wrong, reproducers)
    return proof.outcome()
