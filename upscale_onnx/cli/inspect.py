"""The command that shows what a compile sees in a model."""

from __future__ import annotations

import argparse
from dataclasses import replace

from upscale_onnx.cli.arguments import add_common, add_report
from upscale_onnx.cli.origin import origin_of
from upscale_onnx.cli.output import Output

SUMMARY = "show a model's segments, the channels that its layers demand, and the nodes that are left alone"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("input", metavar="in.onnx", help="the model to inspect")
    parser.add_argument("--json", metavar="FILE", help="also write everything as JSON; - prints it, and no tables")
    add_report(parser)
    add_common(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Inspect and report. Returns the exit code."""
    from upscale_onnx import pipeline
    from upscale_onnx.report.page.write import check_page, write_page
    from upscale_onnx.report.rows import inspection_tables
    from upscale_onnx.report.terminal import network_view

    if args.report is not None:
        check_page(args.report)
    with output.progress() as progress:
        found = replace(pipeline.inspect(args.input, progress=progress), origin=origin_of(args))
    with output.publishing() as files:
        output.write_json(found, args.json, files)
        if args.report is not None:
            write_page(found, args.report, files)
    if output.is_terminal:
        output.view(
            lambda width: network_view(args.input, found.stats, found.segments, found.picture, found.refusals, width)
        )
    if not output.is_terminal or output.verbose:
        output.tables(inspection_tables(found.stats, found.segments, found.refusals, verbose=output.verbose))
    return 0
