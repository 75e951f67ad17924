"""The command that measures a model's operators on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from upscale_onnx.cli.arguments import add_common, add_session, positive, positive_number
from upscale_onnx.cli.output import Output
from upscale_onnx.options import TargetOptions

if TYPE_CHECKING:
    from upscale_onnx.report.rows import Table
    from upscale_onnx.timing.calibration import Calibration

SUMMARY = "time a model's operators on this machine, so that compiles can predict times"

_BUDGET_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="in.onnx", help="the model whose operators are timed")
    parser.add_argument(
        "--target",
        metavar="NAME|FILE",
        help="what to compile for: cpu, cuda, generic or a JSON file (default: the provider)",
    )
    parser.add_argument(
        "--budget",
        type=positive_number,
        default=_BUDGET_S,
        metavar="S",
        help="most seconds to spend; run the command again to continue (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        default=TargetOptions.threads,
        metavar="N",
        help="threads of each session (default: %(default)s)",
    )
    parser.add_argument("--batch", type=positive, metavar="N", help="size of a dynamic first axis")
    add_session(parser)
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    add_common(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Measure and report. Returns the exit code."""
    from upscale_onnx.report.json import write_json
    from upscale_onnx.runtime import resolve_provider
    from upscale_onnx.timing.calibration import calibrate, resolve_target

    provider = resolve_provider(args.provider)
    target = resolve_target(args.target, provider)
    with output.progress() as progress:
        result = calibrate(
            args.model,
            target=target,
            provider=provider,
            threads=args.threads,
            budget_s=args.budget,
            batch=args.batch,
            seed=args.seed,
            progress=progress,
        )
    with output.publishing() as files:
        if args.json is not None:
            write_json(result, args.json, files)
    output.tables([_table(result)])
    output.written(result.path)
    return 0


def _table(result: Calibration) -> Table:
    """What was measured, and the predicted time of each operator type."""
    from upscale_onnx.report.rows import Table

    prediction = result.predicted
    facts = (
        ("target", result.target),
        ("device", result.device),
        ("provider", result.provider),
        ("threads", result.threads),
        ("timed", result.timed),
        ("wanted", result.wanted),
        ("seconds", result.seconds),
        ("input_ms", result.input_ms),
        ("predicted_ms", prediction.ms),
        ("contraction_ms", prediction.contraction_ms),
    )
    return Table("calibration", "Calibration", ("operator", "predicted ms"), prediction.by_operator, facts)
