"""The command that measures a classifier's accuracy."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from upscale_onnx.cli.arguments import Group, add_common, add_session, add_threads, given, positive
from upscale_onnx.cli.output import Output

if TYPE_CHECKING:
    from upscale_onnx.measures.accuracy import Preprocessing

SUMMARY = "measure a classifier's accuracy on labelled images"

PRESETS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="model.onnx", help="the classifier")
    parser.add_argument(
        "data",
        metavar="data",
        help=".npz with images (named as the model's input, x or images; or, encoded, in blob and offsets) and labels "
        "(named y or labels); or a folder with one folder per class",
    )
    add_preprocessing(parser)
    parser.add_argument("--limit", type=positive, metavar="N", help="evaluate N images, drawn by --seed")
    add_threads(parser)
    add_session(parser)
    parser.add_argument("--json", metavar="FILE", help="also write the result as JSON")
    add_common(parser)


def add_preprocessing(parser: Group) -> None:
    """Add the options for making inputs from images."""
    parser.add_argument(
        "--mean",
        type=numbers,
        metavar="M[,M…]",
        help="mean to subtract from pixels, which are 0 to 1; one number or three",
    )
    parser.add_argument(
        "--std", type=numbers, metavar="S[,S…]", help="standard deviation to divide by after that; one number or three"
    )
    parser.add_argument("--normalise", choices=tuple(PRESETS), help="use the mean and std of a data set")
    parser.add_argument(
        "--size", type=size, metavar="HxW", help="resize and crop encoded images to this height and width"
    )
    parser.add_argument(
        "--layout", choices=("nchw", "nhwc"), default="nchw", help="layout of the input (default: %(default)s)"
    )
    parser.add_argument("--no-scale", dest="scale", action="store_false", help="leave pixels in 0 to 255")


def preprocessing_from(args: argparse.Namespace) -> Preprocessing:
    """How to make inputs from images, from `args`."""
    from upscale_onnx.measures.accuracy import Preprocessing

    mean, std = PRESETS.get(args.normalise, ((0.0,), (1.0,)))
    return Preprocessing(args.mean or mean, args.std or std, args.size, args.layout, args.scale)


def run(args: argparse.Namespace, output: Output) -> int:
    """Evaluate and report. Returns the exit code."""
    from upscale_onnx.measures.accuracy import evaluate
    from upscale_onnx.report.measured_rows import accuracy_table

    with output.progress() as progress:
        wanted = {"limit": args.limit, **given(args, "provider", "threads", "seed"), "progress": progress}
        accuracy = evaluate(args.model, args.data, preprocessing_from(args), **wanted)
    output.json(accuracy, args.json)
    output.tables([accuracy_table(accuracy)])
    return 0


def numbers(text: str) -> tuple[float, ...]:
    """One finite number, or three, separated by commas."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3) or not all(abs(value) < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is not one number or three")
    return values


def size(text: str) -> tuple[int, int]:
    """Height and width in pixels, as in 224x224; a single number stands for both."""
    parts = text.lower().split("x")
    sides = [positive(part) for part in parts]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not a height and a width, as in 224x224")
    return sides[0], sides[-1]
