"""The command that compares two models."""

from __future__ import annotations

import argparse

from upscale_onnx.cli.arguments import add_common, add_proofs, add_session, given, named_size, positive, positive_number
from upscale_onnx.cli.output import Output
from upscale_onnx.errors import NotEquivalentError

SUMMARY = "compare what two models compute"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("original", metavar="a.onnx", help="the original model")
    parser.add_argument("compiled", metavar="b.onnx", help="the model that should compute the same")
    parser.add_argument(
        "--inputs", metavar="FILE", help=".npz with inputs by name; compare on these, too, not only on random ones"
    )
    parser.add_argument(
        "--trials", type=positive, metavar="N", help="sets of random inputs (default: 5 to 18, by the model's size)"
    )
    parser.add_argument(
        "--dims",
        type=named_size,
        action="append",
        metavar="NAME=SIZE",
        help="size of a named open dimension in random inputs; may be given again for another dimension",
    )
    parser.add_argument(
        "--tolerance",
        type=positive_number,
        metavar="T",
        help="largest error, relative to the largest magnitude of the output (default: what rounding explains)",
    )
    add_proofs(parser)
    parser.add_argument(
        "--certificate",
        metavar="FILE",
        help="the --certificate that the compile of a.onnx to b.onnx wrote; its claims are proven again (default: cut "
        "the models at values with the same name)",
    )
    add_session(parser)
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    add_common(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Compare and report. Returns the exit code: 0 if the models are equal."""
    from upscale_onnx.proof.verifying import verify
    from upscale_onnx.report.rows import verification_table

    wanted = given(args, "certificate", "trials", "tolerance", "proofs", "inputs", "provider", "seed")
    dims = None if args.dims is None else dict(args.dims)
    verification = verify(args.original, args.compiled, dims=dims, **wanted)
    code = 0 if verification.equal else NotEquivalentError.exit_code
    output.json(verification, args.json, code)
    output.tables([verification_table(verification)])
    return code
