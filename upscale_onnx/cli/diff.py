"""The command that shows how two models differ, node by node."""

from __future__ import annotations

import argparse

from upscale_onnx.cli.arguments import add_common
from upscale_onnx.cli.output import Output

SUMMARY = "show how two models differ, node by node, with the sizes of what each node makes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("original", metavar="a.onnx", help="the first model")
    parser.add_argument("compiled", metavar="b.onnx", help="the second model")
    parser.add_argument("--json", metavar="FILE", help="also write the differences as JSON")
    add_common(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Compare and report. Returns the exit code."""
    from upscale_onnx.model import load_model
    from upscale_onnx.model.differences import differences
    from upscale_onnx.report.difference_rows import differences_table
    from upscale_onnx.report.terminal import differences_view

    found = differences(load_model(args.original), load_model(args.compiled))
    output.json(found, args.json)
    if output.is_terminal and not output.verbose:
        output.view(lambda width: differences_view(found))
    else:
        output.tables([differences_table(found)])
    return 0
