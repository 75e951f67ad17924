"""The command that measures a model's operators on this machine."""

from __future__ import annotations

import argparse

from upscale_onnx.cli.arguments import (
    add_common,
    add_option,
    add_session,
    add_threads,
    given,
    positive,
    positive_number,
)
from upscale_onnx.cli.output import Output

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
    spent = "most seconds to spend; run the command again to continue"
    add_option(parser, "--budget", positive_number, "S", _BUDGET_S, spent)
    add_threads(parser, "threads of each session")
    parser.add_argument("--batch", type=positive, metavar="N", help="size of a dynamic first axis")
    add_session(parser)
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    add_common(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Measure and report. Returns the exit code."""
    from upscale_onnx.report.measured_rows import calibration_table
    from upscale_onnx.timing.calibration import calibrate

    with output.progress() as progress:
        wanted = given(args, "target", "provider", "threads", "batch", "seed")
        result = calibrate(args.model, budget_s=args.budget, progress=progress, **wanted)
    output.json(result, args.json)
    output.tables([calibration_table(result)])
    output.written(result.path)
    return 0
