"""The command that prunes single weights, as torch.nn.utils.prune does."""

from __future__ import annotations

import argparse
import math
from typing import Any, get_args

from upscale_onnx.cli.arguments import add_common, add_option, given, natural, within
from upscale_onnx.cli.output import Output
from upscale_onnx.cli.sparsity import add_choice, kinds
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import PruneOptions, Side
from upscale_onnx.options.ranges import Range
from upscale_onnx.unstructured.patterns import STRUCTURED, Pattern

SUMMARY = "prune single weights, or channels of single tensors: only write zeros"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("input", metavar="in.onnx", help="the model to prune")
    parser.add_argument("output", metavar="out.onnx", help="where to write the result")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--amount",
        type=amount,
        metavar="A",
        help="how much of each tensor to prune: a share such as 0.3, or a number of entries or channels such as 30",
    )
    what.add_argument(
        "--mask", metavar="FILE", help=".npz with an array of the same shape per tensor, by name, 0 = pruned"
    )
    parser.add_argument(
        "--pattern",
        choices=get_args(Pattern),
        help="what to prune: random or smallest entries, or whole channels, random or of lowest norm (default: l1)",
    )
    parser.add_argument(
        "--n", type=norm, metavar="N", help="the norm of ln-structured; may be inf or -inf (default: 1)"
    )
    channels = parser.add_mutually_exclusive_group()
    channels.add_argument(
        "--side", choices=get_args(Side), help="the channels of structured patterns (default: output)"
    )
    channels.add_argument("--dim", type=int, metavar="D", help="the channel axis of the tensors, in place of --side")
    parser.add_argument(
        "--global", dest="is_global", action="store_true", help="rank the entries of all tensors together"
    )
    add_choice(parser, default="weight")
    parser.add_argument(
        "--keep-zeros", action="store_true", help="count existing zeros as pruned; the amount is of the other entries"
    )
    parser.add_argument("--scores", metavar="FILE", help=".npz with arrays to rank by in place of the tensors, by name")
    add_option(parser, "--seed", natural, "N", PruneOptions.seed, "seed of random patterns")
    parser.add_argument("--json", metavar="FILE", help="also write the sparsity of the result as JSON")
    add_common(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Prune, write, report. Returns the exit code."""
    _refuse_idle(args)
    from upscale_onnx.model import save_model
    from upscale_onnx.report.sparsity_rows import sparsity_table
    from upscale_onnx.unstructured.sparsify import sparsify
    from upscale_onnx.unstructured.sparsity import sparsity

    pruned = sparsify(args.input, scores=args.scores, masks=args.mask, **({} if args.mask else _settings(args)))
    result = sparsity(pruned.model)
    with output.publishing() as files:
        output.write_json(result, args.json, files)
        save_model(pruned.model, args.output, files=files)
    entries = sum(int((~kept).sum()) for kept in pruned.masks.values())
    output.tables([sparsity_table(result, (("pruned", entries), ("skipped_tensors", len(pruned.skipped))))])
    output.written(args.output)
    return 0


def amount(text: str) -> float:
    """A number of entries if the text is an integer, otherwise a share from 0.0 to 1.0."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a share from 0.0 to 1.0 nor a whole number")
    return share


# The n of a norm; infinities are accepted.
norm = within(Range("the n of a norm, such as 1, 2 or inf", lambda value: not math.isnan(value)), float)


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Sparsifying` that `args` give."""
    names = ("amount", "is_global", "layers", "ignore", "keep_zeros", "seed", "pattern", "n", "side", "dim")
    return {"kinds": kinds(args), **given(args, *names)}


def _refuse_idle(args: argparse.Namespace) -> None:
    """Raises: ArgumentError if an option would have no effect."""
    if args.mask is not None:
        chosen = ("pattern", "n", "side", "dim", "is_global", "layers", "ignore", "keep_zeros", "scores")
        idle = [name for name in chosen if getattr(args, name) not in (None, False, [])]
        if idle:
            raise ArgumentError("--mask decides alone what to prune: leave out the other options")
    if args.side is not None or args.dim is not None:
        _need(args, STRUCTURED, "--side" if args.dim is None else "--dim")
    if args.n is not None:
        _need(args, ("ln-structured",), "--n")
    if args.scores is not None and args.pattern in ("random", "random-structured"):
        raise ArgumentError("--scores has no effect on a random pattern: leave it out")


def _need(args: argparse.Namespace, patterns: tuple[str, ...], option: str) -> None:
    if args.pattern not in patterns:
        raise ArgumentError(f"{option} has no effect without --pattern {' or '.join(patterns)}")
