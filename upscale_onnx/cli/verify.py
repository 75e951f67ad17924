"""The command that compares two models."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from upscale_onnx.cli.arguments import add_common, add_proofs, add_session, given, named_size, positive, positive_number
from upscale_onnx.cli.output import Output
from upscale_onnx.errors import ArgumentError, NotEquivalentError

if TYPE_CHECKING:
    from onnx import ModelProto

    from upscale_onnx.results import Claim

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
    from upscale_onnx.model import load_model
    from upscale_onnx.proof.equivalence import compare_models
    from upscale_onnx.report.rows import verification_table
    from upscale_onnx.runtime import load_inputs, resolve_provider

    provider = resolve_provider(args.provider)
    original, compiled = load_model(args.original), load_model(args.compiled)
    checks = given(args, "trials", "tolerance")
    if args.dims is not None:
        checks["dims"] = dict(args.dims)
    if args.inputs is not None:
        checks["inputs"] = load_inputs(args.inputs, original)
    claims = None if args.certificate is None else _claims(args.certificate, original, compiled)
    verification = compare_models(
        original, compiled, claims, proofs=args.proofs, provider=provider, seed=args.seed, **checks
    )
    code = 0 if verification.equal else NotEquivalentError.exit_code
    output.json(verification, args.json, code)
    output.tables([verification_table(verification)])
    return code


def _claims(path: str, original: ModelProto, compiled: ModelProto) -> Mapping[str, Claim]:
    """The claims of the certificate at `path`.

    Raises: ArgumentError if the certificate is about other models.
    """
    from upscale_onnx.files.arrays import read_arrays
    from upscale_onnx.model.stream import digest
    from upscale_onnx.proof.certificate import certificate_of

    certificate = certificate_of(read_arrays(path), path)
    if certificate.original != digest(original):
        raise ArgumentError(
            f"{path}: is about another original; for a pruned model, give the file that --write-masked wrote"
        )
    if certificate.compiled != digest(compiled):
        raise ArgumentError(f"{path}: is about another compiled model; give the model that was written with it")
    return certificate.claims
