"""The command that compares two models."""

from __future__ import annotations

import argparse
from typing import Any

from upscale_onnx.cli.arguments import add_common, add_session, positive, positive_number
from upscale_onnx.cli.output import Output
from upscale_onnx.errors import NotEquivalentError

SUMMARY = "compare what two models compute"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("original", metavar="a.onnx", help="the model that is right")
    parser.add_argument("compiled", metavar="b.onnx", help="the model that is to be equal")
    parser.add_argument("--inputs", metavar="FILE", help=".npz with inputs by name, to compare on beside random ones")
    parser.add_argument("--trials", type=positive, metavar="N", help="random inputs per shape")
    parser.add_argument(
        "--tolerance",
        type=positive_number,
        metavar="T",
        help="largest error, relative to each output's own scale (default: from the data type and the depth)",
    )
    add_session(parser)
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    add_common(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Compare and report; the exit code, which says whether they are equal."""
    from upscale_onnx.model import load_model
    from upscale_onnx.report.json import write_json
    from upscale_onnx.report.rows import verification_table
    from upscale_onnx.runtime import load_inputs, resolve_provider, verify

    provider = resolve_provider(args.provider)
    original, compiled = load_model(args.original), load_model(args.compiled)
    given: dict[str, Any] = {
        name: getattr(args, name) for name in ("trials", "tolerance") if getattr(args, name) is not None
    }
    if args.inputs is not None:
        given["inputs"] = load_inputs(args.inputs, original)
    verification = verify(original, compiled, provider=provider, seed=args.seed, **given)
    code = 0 if verification.equal else NotEquivalentError.exit_code
    with output.publishing(code) as files:
        if args.json is not None:
            write_json(verification, args.json, files)
    output.tables([verification_table(verification)])
    return code
