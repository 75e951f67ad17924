"""Latency and accuracy of pruned networks: each compiled to its fastest export, and all raced against the input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from accuracy_data import Data, Results, Row
from accuracy_grid import KEY as CASE_KEY
from accuracy_grid import Case, Setting

from upscale_onnx import compile as compile_model
from upscale_onnx.errors import ArgumentError, UpscaleError
from upscale_onnx.model.batch import rebatch
from upscale_onnx.options import Options
from upscale_onnx.runtime import race

KEY = (*CASE_KEY, "batch", "threads")
MEASURED = ("export", "ratio", "ratio_low", "ratio_high", "ms", "top1")
_DISTURBED = 1.2


@dataclass(frozen=True)
class Racing:
    """How models are raced: the images of one inference, intra-op threads, and at most so many rounds and seconds."""

    batch: int = 8
    threads: int = 1
    rounds: int = 50
    seconds: float = 60.0


def disturbed(row: Row) -> bool:
    """Whether other work on the machine left the ratio in `row` too uncertain: its interval spans more than a fifth."""
    return float(row["ratio_high"]) > _DISTURBED * float(row["ratio_low"])


def at_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """A copy of `model` whose inputs have `batch` as their first dimension, whether that was fixed or dynamic.

    The exports of a compile are raced at the batch size that the model fixes.

    Raises: ModelError where the inputs have no common batch size.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(rebatch(model, batch))
    initialized = {tensor.name for tensor in fixed.graph.initializer}
    for value in fixed.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in initialized and dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = batch
    return fixed


def measure(
    model: onnx.ModelProto, wanted: Sequence[Case], data: Data, setting: Setting, results: Results, racing: Racing
) -> int:
    """Add to `results` the latency, as a share of `model`'s, and the accuracy of every case that it lacks; how many
    failed. The missing ones run in one race, so that they are compared with each other."""
    missing = [case for case in wanted if not results.has(_row(setting, case, racing))]
    if not missing:
        return 0
    options = Options.of(provider="cpu", threads=racing.threads)
    runners = {Case(): at_batch(model, racing.batch)}
    exports, top1 = {Case(): "input"}, {Case(): data.top1(model, racing.threads)}
    failures = 0
    for case in missing:
        try:
            pruned = case.pruned(model, data, racing.threads, setting.seed, racing.batch)
            compiled = compile_model(at_batch(pruned, racing.batch), options.replaced(seed=setting.seed))
        except UpscaleError as error:
            failures += not isinstance(error, ArgumentError)
            print(f"left out: {setting.network}, {case}: {error}", file=sys.stderr)
            continue
        runners[case], exports[case] = compiled.model, compiled.report.export
        top1[case] = data.top1(pruned, racing.threads)
        print(f"{case.criterion} {case.method} {case.repair} {case.amount}: {top1[case]:.1f}", flush=True)
    done = race(
        {str(place): runner for place, runner in enumerate(runners.values())},
        threads=racing.threads, rounds=racing.rounds, budget_s=racing.seconds, seed=setting.seed,
    )  # fmt: skip
    for case, timing in zip(runners, done.timings, strict=True):
        measured = {
            "export": exports[case],
            "ratio": f"{timing.ratio:.4f}",
            "ratio_low": f"{timing.ratio_low:.4f}",
            "ratio_high": f"{timing.ratio_high:.4f}",
            "ms": f"{timing.median_ms:.4f}",
            "top1": f"{top1[case]:.2f}",
        }
        if not results.has(_row(setting, case, racing)):
            results.add({**_row(setting, case, racing), **measured})
    return failures


def _row(setting: Setting, case: Case, racing: Racing) -> dict[str, object]:
    return {**setting.row(case), "batch": racing.batch, "threads": racing.threads}
