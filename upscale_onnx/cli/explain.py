"""The command that explains a group of options, or a command."""

from __future__ import annotations

import argparse

from upscale_onnx.cli.arguments import add_common
from upscale_onnx.cli.output import Output
from upscale_onnx.errors import ArgumentError, did_you_mean

SUMMARY = "explain a group of options (pruning, export, target, proof, reports), or a command"

TOPICS = {
    "pruning": ("pruning first", "what is pruned", "how much each layer loses"),
    "export": ("the export",),
    "target": ("the target",),
    "proof": ("the proof",),
    "reports": ("reports", "options"),
}
"""For each topic, the titles of the groups of options that it is about."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("topic", nargs="?", type=word, metavar="TOPIC", help="a group of options, or a command")
    add_common(parser)


def word(text: str) -> str:
    """A text that is no path."""
    return text


def run(args: argparse.Namespace, output: Output) -> int:
    """Print the help. Returns the exit code."""
    from upscale_onnx.cli.main import COMMANDS, make_parser

    if args.topic is None:
        output.text(make_parser("compile").format_help())
    elif args.topic in TOPICS:
        output.text(make_parser("compile").format_topic(TOPICS[args.topic]))
    elif args.topic in COMMANDS:
        output.text(make_parser(args.topic).format_all())
    else:
        hint = did_you_mean(args.topic, [*TOPICS, *COMMANDS])
        raise ArgumentError(f"there is no help on {args.topic!r}{hint}; topics: {', '.join(TOPICS)}")
    return 0
