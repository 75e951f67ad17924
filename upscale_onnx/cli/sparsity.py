"""The command that counts zeros."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from upscale_onnx.cli.arguments import add_common, add_layers
from upscale_onnx.cli.output import Output

if TYPE_CHECKING:
    from upscale_onnx.unstructured.parameters import Kind

SUMMARY = "count the zeros in a model's weights and biases"

_KINDS: dict[str, tuple[Kind, ...]] = {"weight": ("weight",), "bias": ("bias",), "all": ("weight", "bias")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="in.onnx", help="the model")
    add_choice(parser, default="all")
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    add_common(parser)


def add_choice(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the options that choose tensors."""
    add_layers(parser, "names of layers, weights or biases to take")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="GLOB", help="names to leave out; may be given again"
    )
    parser.add_argument(
        "--kind", choices=tuple(_KINDS), default=default, help="weights, biases or both (default: %(default)s)"
    )


def kinds(args: argparse.Namespace) -> tuple[Kind, ...]:
    """The kinds of tensors that `args` choose."""
    return _KINDS[args.kind]


def run(args: argparse.Namespace, output: Output) -> int:
    """Count and report. Returns the exit code."""
    from upscale_onnx.model import load_model
    from upscale_onnx.report.sparsity_rows import sparsity_table
    from upscale_onnx.unstructured.parameters import choose, parameters
    from upscale_onnx.unstructured.sparsity import sparsity

    model = load_model(args.model)
    result = sparsity(model, choose(parameters(model), args.layers, args.ignore, kinds(args)))
    output.json(result, args.json)
    output.tables([sparsity_table(result)])
    return 0
