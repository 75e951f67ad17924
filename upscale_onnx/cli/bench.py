"""The command that times models against each other."""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace

from upscale_onnx.cli.arguments import add_common, add_option, add_report, add_session, given, positive, positive_number
from upscale_onnx.cli.origin import origin_of
from upscale_onnx.cli.output import Output, complain
from upscale_onnx.cli.parser import Listed
from upscale_onnx.errors import ModelError
from upscale_onnx.files.publish import NewFiles
from upscale_onnx.options import TargetOptions
from upscale_onnx.results import Bench

SUMMARY = "time models in interleaved runs, and compare them with the first"

_BUDGET_S = 10.0
_ROUNDS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "models", metavar="a.onnx", nargs="+", help="the models; the others are compared with the first"
    )
    parser.add_argument(
        "--batch",
        type=positives,
        action=Listed,
        metavar="N[,N…]",
        help="batch sizes to race at, also for models that fix another size (default: the batch size of the models)",
    )
    parser.add_argument(
        "--threads",
        type=positives,
        action=Listed,
        default=(TargetOptions.threads,),
        metavar="N[,N…]",
        help=f"threads of each session; one race per number (default: {TargetOptions.threads})",
    )
    spent = "most seconds to spend on one race, all models together"
    add_option(parser, "--budget", positive_number, "S", _BUDGET_S, spent)
    add_option(parser, "--rounds", positive, "N", _ROUNDS, "most rounds of one race")
    parser.add_argument(
        "--operators", dest="profile", action="store_true", help="also show where the time goes, by operator type"
    )
    add_session(parser)
    parser.add_argument("--json", metavar="FILE", help="also write everything as JSON")
    parser.add_argument("--csv", metavar="FILE", help="also write one line per model and race as CSV")
    parser.add_argument("--plot", metavar="FILE", help="also draw the races (.png, .svg or .pdf; needs matplotlib)")
    add_report(parser)
    add_common(parser)


def positives(text: str) -> tuple[int, ...]:
    """Integers of at least 1, separated by commas; duplicates are dropped."""
    return tuple(dict.fromkeys(positive(part.strip()) for part in text.split(",")))


def run(args: argparse.Namespace, output: Output) -> int:
    """Race and report. Returns the exit code: 0 if every model ran in every race."""
    if args.plot is not None:
        from upscale_onnx.report.plot import check_plot

        check_plot(args.plot)
    if args.report is not None:
        from upscale_onnx.report.page.write import check_page

        check_page(args.report)
    from upscale_onnx.report.bench_rows import bench_tables
    from upscale_onnx.timing.races import race

    settings = tuple(itertools.product(args.batch or (None,), args.threads))
    with output.progress() as progress:
        bench = race(
            args.models,
            settings=settings,
            rounds=args.rounds,
            budget_s=args.budget,
            operators=args.profile or args.report is not None,
            progress=progress,
            **given(args, "provider", "seed"),
        )
    for line in bench.skipped:
        complain(f"upscale_onnx: error: {line}")
    code = ModelError.exit_code if bench.skipped else 0
    bench = replace(bench, origin=origin_of(args))
    with output.publishing(code) as files:
        _write(bench, args, output, files)
    output.tables(bench_tables(bench))
    return code


def _write(bench: Bench, args: argparse.Namespace, output: Output, files: NewFiles) -> None:
    output.write_json(bench, args.json, files)
    if args.csv is not None:
        from upscale_onnx.report.csv import write_csv

        write_csv(bench.races, args.csv, files)
    if args.plot is not None:
        from upscale_onnx.report.plot import write_plot

        write_plot(bench, args.plot, files)
    if args.report is not None:
        from upscale_onnx.report.page.write import write_page

        write_page(bench, args.report, files)
