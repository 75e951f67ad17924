"""The command that prunes one layer at a time and measures the loss."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, get_args

from upscale_onnx.cli.arguments import (
    add_common,
    add_layers,
    add_option,
    add_session,
    add_threads,
    criterion_name,
    fraction,
    given,
    positive,
)
from upscale_onnx.cli.evaluate import add_preprocessing, preprocessing_from
from upscale_onnx.cli.output import Output
from upscale_onnx.cli.parser import Listed
from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import NewFiles
from upscale_onnx.options import PruneOptions, Side
from upscale_onnx.pruning.criteria import CRITERIA

if TYPE_CHECKING:
    from upscale_onnx.results import Sensitivity

SUMMARY = "measure the loss when a single layer is pruned, and how much of each layer may be pruned"

_PREPROCESSING = {"mean": None, "std": None, "normalise": None, "size": None, "layout": "nchw", "scale": True}
_REPORTS = ("json", "csv", "plot", "profile")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="in.onnx", help="the model to scan")
    parser.add_argument(
        "--amounts",
        type=amounts,
        action=Listed,
        metavar="A[,A…]",
        help="shares of each layer's channels to prune (default: 0.1,0.3,0.5)",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="labelled images, as for evaluate, to measure accuracy (default: measure the distance of outputs)",
    )
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help=".npz with inputs by name (or x), samples along the first axis: outputs are compared on these without "
        "--data (default: random inputs), and some criteria need them",
    )
    add_option(parser, "--criterion", criterion_name, "NAME", PruneOptions.criterion, ", ".join(CRITERIA))
    parser.add_argument("--side", choices=get_args(Side), default=PruneOptions.side, help="default: %(default)s")
    add_layers(parser, "scan the layers with these names")
    parser.add_argument(
        "--tolerate",
        type=fraction,
        metavar="D",
        help="largest acceptable loss: of top-1 accuracy, as a share of 1 (default: 0.01), or the distance of outputs "
        "relative to them (default: 0.1)",
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="samples to measure on, held in memory (default: 256)"
    )
    add_threads(parser)
    add_session(parser)
    add_preprocessing(parser.add_argument_group("from images to inputs"))
    reports = parser.add_argument_group("what to write")
    reports.add_argument("--json", metavar="FILE", help="the result as JSON")
    reports.add_argument("--csv", metavar="FILE", help="the result as CSV, one line per layer and amount")
    reports.add_argument("--plot", metavar="FILE", help="curves, as .png, .svg or .pdf")
    reports.add_argument(
        "--write-profile",
        dest="profile",
        metavar="FILE",
        help="the share of each layer to keep so that all layers together lose what is tolerated: the largest amounts "
        "of the single layers, scaled by one factor; for --profile FILE of compile",
    )
    add_common(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Scan and report. Returns the exit code."""
    _check(args)
    from upscale_onnx.report.measured_rows import sensitivity_table
    from upscale_onnx.sensitivity.scanning import scan

    with output.progress() as progress:
        found = scan(
            args.model,
            args.data,
            preprocessing_from(args),
            layers=args.layers,
            tolerated=args.tolerate,
            progress=progress,
            **given(args, "amounts", "limit", "criterion", "side", "calibration", "provider", "threads", "seed"),
        )
    with output.publishing() as files:
        _write(args, found, output, files)
    output.tables([sensitivity_table(found)])
    for name in _REPORTS:
        if getattr(args, name) is not None:
            output.written(getattr(args, name))
    return 0


def amounts(text: str) -> tuple[float, ...]:
    """Fractions above 0, separated by commas."""
    values = tuple(fraction(part) for part in text.split(","))
    if not all(values):
        raise argparse.ArgumentTypeError("an amount of 0 prunes nothing: give fractions above 0 and below 1")
    return values


def _check(args: argparse.Namespace) -> None:
    """Raises: ArgumentError if options do not go together."""
    if args.plot is not None:
        from upscale_onnx.report.plot import check_plot

        check_plot(args.plot)
    if args.profile is not None and not args.profile.lower().endswith(".json"):
        raise ArgumentError(f"--profile {args.profile}: a profile is a .json file; choose a name that ends in .json")
    if args.data is None and any(getattr(args, name) != value for name, value in _PREPROCESSING.items()):
        raise ArgumentError("only labelled images are preprocessed: give --data, or leave out the options for images")


def _write(args: argparse.Namespace, found: Sensitivity, output: Output, files: NewFiles) -> None:
    from upscale_onnx.files.publish import write_whole
    from upscale_onnx.masks.profile_files import profile_text
    from upscale_onnx.report.csv import write_rows
    from upscale_onnx.report.curves import Curve, write_curves

    output.write_json(found, args.json, files)
    if args.profile is not None and found.together is not None:
        text = profile_text(found.together.profile, args.side, "unconstrained")
        write_whole(text.encode(), args.profile, files)
    if args.csv is not None:
        columns = ("weight", "node", "op_type", "channels", "amount", "kept", found.measure, "loss")
        rows = [
            (layer.weight, layer.node, layer.op_type, layer.channels, *step)
            for layer in found.layers
            for step in zip(found.amounts, layer.kept, layer.values, layer.losses, strict=True)
        ]
        write_rows(columns, rows, args.csv, files)
    if args.plot is not None:
        curves = [Curve(layer.weight, layer.losses, layer.largest_amount) for layer in found.layers]
        top1 = found.measure == "top1"
        title = f"{found.criterion}, {found.side} channels, {found.samples} samples"
        write_curves(
            curves,
            found.amounts,
            args.plot,
            ylabel="loss of top-1 accuracy" if top1 else "distance of outputs",
            tolerated=found.tolerated,
            title=f"{title}, {found.baseline:.1%} unpruned" if top1 else title,
            files=files,
        )
