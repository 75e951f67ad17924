"""The default command: compile a model."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from upscale_onnx.cli.arguments import (
    Group,
    add_common,
    add_proofs,
    add_report,
    add_session,
    add_threads,
    given,
    positive,
    positive_number,
)
from upscale_onnx.cli.origin import origin_of
from upscale_onnx.cli.output import Output
from upscale_onnx.cli.parser import HelpAll
from upscale_onnx.cli.pruning import add_pruning, check_pruning
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Export, ExportOptions, Options, Prefer, TargetOptions
from upscale_onnx.options.options import option_names

if TYPE_CHECKING:
    from upscale_onnx.model.stored import WeightStore

SUMMARY = "make a channel-pruned ONNX model smaller and faster, and prove that it computes the same"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("input", metavar="in.onnx", help="the model to compile")
    parser.add_argument("output", metavar="out.onnx", help="where to write the result")
    parser.add_argument("--help-all", action=HelpAll, nargs=0, help="show all options, and end")
    export, proof = add_options(parser)
    export.add_argument(
        "--fail-if-unchanged",
        action="store_true",
        help="if nothing can be made smaller or faster, write nothing and exit with 6",
    )
    proof.add_argument(
        "--certificate",
        metavar="FILE",
        help="also write the claims about all values, so that `verify` can prove them again",
    )
    _add_reports(parser.add_argument_group("reports"))
    add_common(parser)


def add_options(parser: argparse.ArgumentParser) -> tuple[Group, Group]:
    """Add the options of commands that compile; the groups of the export and of the proof, for further ones."""
    add_pruning(parser)
    export = parser.add_argument_group("the export")
    _add_export(export)
    _add_target(parser.add_argument_group("the target"))
    proof = parser.add_argument_group("the proof")
    _add_proof(proof)
    return export, proof


def _add_reports(group: Group) -> None:
    add_report(group)
    group.add_argument("--json", metavar="FILE", help="also write the report as JSON")
    group.add_argument(
        "--write-profile", metavar="FILE", help="also write the share of channels that each layer keeps, as JSON"
    )
    group.add_argument(
        "--write-masked", metavar="FILE", help="also write the pruned model as it was before it was compiled"
    )


def run(args: argparse.Namespace, output: Output) -> int:
    """Compile, write, report. Returns the exit code."""
    options = options_from(args)
    if args.write_profile is not None and not options.prune.prunes:
        raise ArgumentError("--write-profile has no effect without --amount: say how much to prune, or leave it out")
    if args.write_masked is not None and not options.prune.prunes:
        raise ArgumentError("--write-masked has no effect without --amount: nothing is masked")
    if args.certificate is not None and not (options.proof.verify and "local" in options.proof.proofs):
        raise ArgumentError("--certificate needs the local proof: leave out --no-verify and --proof global")
    from upscale_onnx.model.stored import weight_store

    with weight_store() as store:
        return _compile(args, options, output, store)


def _compile(args: argparse.Namespace, options: Options, output: Output, store: WeightStore) -> int:
    from upscale_onnx import pipeline
    from upscale_onnx.files.publish import write_whole
    from upscale_onnx.masks.profile_files import profile_text
    from upscale_onnx.model import save_model
    from upscale_onnx.proof.certificate import certificate_bytes, certify
    from upscale_onnx.report.page.write import check_page, write_page
    from upscale_onnx.report.rows import report_tables
    from upscale_onnx.report.terminal import outcome_view

    if args.report is not None:
        check_page(args.report)
    with output.progress() as progress:
        result = pipeline.compiled(args.input, options, progress, store)
        report = result.report if args.report is None else pipeline.detailed(result, options)
    report = replace(report, origin=origin_of(args))
    with output.publishing() as files:
        output.write_json(report, args.json, files)
        if args.report is not None:
            write_page(report, args.report, files)
        if args.write_profile is not None:
            profile = profile_text(report.profile, options.prune.side, options.prune.method)
            write_whole(profile.encode(), args.write_profile, files)
        if args.certificate is not None:
            write_whole(certificate_bytes(certify(result)), args.certificate, files)
        if args.write_masked is not None:
            save_model(result.masked, args.write_masked, files=files)
        save_model(result.model, args.output, files=files)
    if output.is_terminal:
        output.view(lambda width: outcome_view(report))
    if output.verbose or not output.is_terminal:
        output.tables(report_tables(report, verbose=output.verbose))
    output.written(args.output)
    return 0


def options_from(args: argparse.Namespace) -> Options:
    """The options of a compile from `args`.

    Raises: ArgumentError if an option would have no effect.
    """
    check_pruning(args)
    return Options.of(**given(args, *option_names()))


def _add_export(group: Group) -> None:
    group.add_argument(
        "--export",
        choices=get_args(Export),
        default=ExportOptions.recipe,
        help="how each layer gets the channels that it reads: planned selects them where that saves time, upscale "
        "orders channels and uses Slice, gather keeps the order and uses Gather, keep selects nothing; auto takes the "
        "fastest (default: %(default)s)",
    )
    group.add_argument(
        "--prefer",
        choices=get_args(Prefer),
        default=ExportOptions.prefer,
        help="what auto prefers; size is the file size (default: %(default)s)",
    )
    group.add_argument(
        "--align",
        type=positive,
        metavar="N",
        help="round channel counts up to a multiple of N (default for keep and planned: the block of the target's "
        "kernels for the model; else 1)",
    )
    group.add_argument(
        "--metadata",
        action="store_true",
        help="write into the model what each node was in the input, how many channels it keeps, and the options; "
        "viewers such as Netron show it",
    )


def _add_target(group: Group) -> None:
    group.add_argument(
        "--target",
        metavar="NAME|FILE",
        help="what the model will run on: cpu, cuda, tensorrt, openvino, generic, or a file that describes it "
        "(default: the provider)",
    )
    group.add_argument(
        "--tune",
        type=positive_number,
        default=TargetOptions.tune,
        metavar="SECONDS",
        help="time the model's operators on this machine before compiling, for at most SECONDS",
    )
    group.add_argument("--no-race", dest="race", action="store_false", help="do not time anything: auto takes keep")
    add_threads(group, "threads of the sessions that are timed")
    group.add_argument(
        "--batch",
        type=positive,
        metavar="N",
        help="batch size to optimise for, if the model takes any; the result takes any as well (default: 1)",
    )
    add_session(group)


def _add_proof(group: Group) -> None:
    group.add_argument("--no-verify", dest="verify", action="store_false", help="write the result without comparing it")
    add_proofs(group)
    group.add_argument(
        "--save-reproducer",
        metavar="DIR",
        help="write regions that were not shown equal, and so are not compiled, to DIR, with inputs that show it",
    )
    group.add_argument(
        "--inputs", metavar="FILE", help=".npz with inputs by name; compare on these, too, not only on random ones"
    )
