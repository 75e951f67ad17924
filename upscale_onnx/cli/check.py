"""The command that holds compiles to bounds, for checks before a commit or a release."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from upscale_onnx.cli.arguments import Group, add_common, given, portion, positive_number
from upscale_onnx.cli.compile import add_options, options_from
from upscale_onnx.cli.output import STANDARD_OUTPUT, Output
from upscale_onnx.cli.parser import Listed
from upscale_onnx.errors import ArgumentError, BoundsError, UpscaleError
from upscale_onnx.gate.bounds import Bounds, Ground

if TYPE_CHECKING:
    from upscale_onnx.report.rows import Table
    from upscale_onnx.results import Finding, Result, Verdict

SUMMARY = "compile models without writing them, and fail where a bound does not hold"

_BOUNDS = ("max_latency_ratio", "max_size_ratio", "max_mac_ratio", "min_param_reduction", "fail_on")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("models", nargs="+", metavar="in.onnx", help="the models to compile")
    _add_bounds(parser.add_argument_group("what has to hold; otherwise the exit code is 7"))
    add_options(parser)
    parser.set_defaults(fail_if_unchanged=False)  # an option of compile: here it is a bound
    reports = parser.add_argument_group("reports")
    reports.add_argument("--out", metavar="FILE", help="write the compiled model if all bounds hold; for one model")
    reports.add_argument("--json", metavar="FILE", help="also write what was found, and the reports, as JSON")
    reports.add_argument(
        "--annotations", choices=("github",), help="also print what does not hold in the form that GitHub shows"
    )
    add_common(parser)


def _add_bounds(group: Group) -> None:
    group.add_argument("--max-latency-ratio", type=positive_number, metavar="R", help="time of the result to the input")
    group.add_argument("--max-size-ratio", type=positive_number, metavar="R", help="bytes of the files, likewise")
    group.add_argument("--max-mac-ratio", type=positive_number, metavar="R", help="multiply-accumulates, likewise")
    group.add_argument(
        "--min-param-reduction", type=portion, metavar="S", help="the least share of the parameters that is removed"
    )
    group.add_argument(
        "--fail-on",
        type=grounds,
        action=Listed,
        metavar="G[,G…]",
        help="unchanged: nothing becomes smaller or faster; refusal: a node is left alone; unproven: a region is not "
        "shown equal by itself",
    )


def grounds(text: str) -> tuple[Ground, ...]:
    """Names of grounds to fail on, separated by commas."""
    chosen: tuple[Ground, ...] = tuple(ground for ground in get_args(Ground) if ground in text.split(","))
    if not chosen or set(text.split(",")) - set(chosen):
        raise argparse.ArgumentTypeError(f"{text!r} is not {', '.join(get_args(Ground))}, or several of these")
    return chosen


def run(args: argparse.Namespace, output: Output) -> int:
    """Compile, judge, report. Returns the exit code.

    Raises: BoundsError if a bound does not hold.
    """
    options, bounds = options_from(args), Bounds(**given(args, *_BOUNDS))
    if args.out is not None and len(args.models) > 1:
        raise ArgumentError("--out names one file: check one model, or leave it out")
    if args.annotations is not None and args.json == STANDARD_OUTPUT:
        raise ArgumentError("--annotations and --json - both write to standard output: name a file for --json")
    bounds.demand(options)
    from upscale_onnx.gate import check

    verdicts = []
    for path in args.models:
        try:
            with output.progress() as progress:
                verdict, result = check(path, bounds, options, progress=progress)
        except UpscaleError as error:
            _annotate(args, output, str(error), path)
            raise
        verdicts.append(verdict)
    return _told(args, output, tuple(verdicts), result)


def _told(args: argparse.Namespace, output: Output, verdicts: tuple[Verdict, ...], last: Result) -> int:
    """Report, and write what is asked for. last: the result of the last model."""
    from upscale_onnx.model import save_model
    from upscale_onnx.results import Check

    found = Check(all(verdict.passed for verdict in verdicts), verdicts)
    with output.publishing(0 if found.passed else BoundsError.exit_code) as files:
        output.write_json(found, args.json, files)
        if args.out is not None and found.passed:
            save_model(last.model, args.out, files=files)
    output.tables([_table(verdicts)])
    missed = [(one.model, f) for one in verdicts for f in one.findings if not f.holds]
    for model, finding in missed:
        _annotate(args, output, _line(finding), model)
    if missed:
        model, finding = missed[0]
        more = f" (and {len(missed) - 1} more)" if len(missed) > 1 else ""
        raise BoundsError(f"{model}: {_line(finding)}{more}")
    if args.out is not None:
        output.written(args.out)
    return 0


def _line(finding: Finding) -> str:
    return f"{finding.bound}: asked was {finding.asked}, found {finding.found}"


def _table(verdicts: Sequence[Verdict]) -> Table:
    """One row per model and bound: what was asked, what was found, and whether it holds."""
    from upscale_onnx.report.rows import Table

    rows = tuple((one.model, f.bound, f.asked, f.found, f.holds) for one in verdicts for f in one.findings)
    return Table("check", "Check", ("model", "bound", "asked", "found", "holds"), rows)


def _annotate(args: argparse.Namespace, output: Output, message: str, path: str) -> None:
    from upscale_onnx.report.annotations import github_annotation

    if args.annotations is not None:
        output.text(github_annotation("upscale_onnx check", message, path))
