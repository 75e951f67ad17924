"""The command that repeats a figure of "Out-of-the-box Channel Pruned Networks" on given networks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from upscale_onnx.cli.arguments import (
    add_common,
    add_option,
    add_session,
    add_threads,
    criterion_name,
    factor,
    positive,
    positive_number,
    session_from,
)
from upscale_onnx.cli.evaluate import add_preprocessing, preprocessing_from
from upscale_onnx.cli.output import Output
from upscale_onnx.cli.parser import Listed
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Options, Repair
from upscale_onnx.pruning.criteria import CRITERIA
from upscale_onnx.training.requirement import check_torch
from upscale_onnx.training.settings import Training

if TYPE_CHECKING:
    import onnx

    from upscale_onnx.experiments.bases import Base, Tune
    from upscale_onnx.experiments.figures import Figure, Setting
    from upscale_onnx.experiments.points import Rows
    from upscale_onnx.measures.accuracy import Preprocessing
    from upscale_onnx.types import Array, Progress

SUMMARY = "repeat a figure of Out-of-the-box Channel Pruned Networks on your networks"

_NAMES = ("figure1", "figure2", "figure3", "figure4", "figure6")
_CHOICES = ("scores", "exact", "bernoulli")
_COMPRESSIONS = (2.0, 3.0, 4.0, 6.0)
_LIMIT, _CALIBRATE, _DRAWS, _PROFILES = 2000, 64, 5, 1200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "figure",
        choices=_NAMES,
        help="1: where fine-tuning begins; 2: which channels go; 3: how many of each layer; 4: random profiles, and "
        "the best of one data set on another; 6: given profiles",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="append",
        required=True,
        metavar=("DATA", "NETWORK"),
        help="labelled images to judge on, and networks trained on such images, all of one architecture; give one "
        "--set for each data set. Figures 4 and 6 judge the last network of a set; figure 4 searches on the others",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results")
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--compressions", type=factors, action=Listed, default=_COMPRESSIONS, metavar="F[,F…]", help="default: 2,3,4,6"
    )
    add_option(what, "--draws", positive, "N", _DRAWS, "networks for each point, where something is random")
    add_option(what, "--profiles", positive, "N", _PROFILES, "random profiles of figure 4 to search among")
    what.add_argument(
        "--reference", type=positive, metavar="N", help="random profiles to judge by (default: as many as --profiles)"
    )
    add_option(
        what, "--transferred", positive, "N", 1, "how many of the best profiles figure 4 transfers, and their mean"
    )
    what.add_argument("--profile", nargs="+", default=[], metavar="FILE", help="profiles that figure 6 applies")
    add_option(what, "--limit", positive, "N", _LIMIT, "images to judge on, held in memory")
    how = parser.add_argument_group("how networks are pruned")
    how.add_argument(
        "--choice", choices=_CHOICES, default="exact", help="which channels a layer keeps: by --criterion, as many at "
        "random, or each at random (default: %(default)s)",
    )  # fmt: skip
    add_option(how, "--criterion", criterion_name, "NAME", "l1", ", ".join(CRITERIA))
    how.add_argument("--repair", choices=get_args(Repair), help="repair every network, with images of --train")
    how.add_argument(
        "--train", action="append", default=[], metavar="DATA", help="training images of a set, in the order of --set"
    )
    add_option(how, "--calibrate", positive, "N", _CALIBRATE, "images of --train for repair and criteria")
    how.add_argument("--epochs", type=positive, metavar="N", help="train every network on --train")
    how.add_argument("--images", type=positive, metavar="N", help="train on N images of --train (default: all)")
    add_option(how, "--rate", positive_number, "R", Training.rate, "highest learning rate")
    add_option(parser, "--workers", positive, "N", 1, "processes on this machine that measure networks")
    add_threads(parser, "threads of each process")
    add_session(parser)
    add_preprocessing(parser.add_argument_group("from images to inputs"))
    add_common(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Measure what is missing, report, draw. Returns the exit code."""
    _check(args)
    from upscale_onnx.cli.experiment_output import draw, table_of, write_summary
    from upscale_onnx.experiments.figures import figure
    from upscale_onnx.experiments.run import check_folder

    folder = Path(args.out)
    with output.progress() as progress:
        progress("read the networks and their data", 0.0)
        bases = _bases(args)
        check_folder(folder, _settings(args, bases))
        rows = _measured(args, figure(args.figure), bases, progress)
    table = table_of(args.figure, rows, bases)
    note = draw(folder / f"{args.figure}.png", rows, bases)
    write_summary(table, folder / "summary.csv")
    output.tables([table])
    if note is not None:
        output.text(f"{args.figure}.png is not drawn: {note}\n")
    output.written(str(folder))
    return 0


def _measured(args: argparse.Namespace, figure: Figure, bases: Sequence[Base], progress: Progress) -> Rows:
    """What the folder holds once it is complete. Raises: ArgumentError where another process writes there."""
    from upscale_onnx.experiments.outcomes import of_workers
    from upscale_onnx.experiments.points import Sheet
    from upscale_onnx.experiments.run import measure
    from upscale_onnx.files.locks import alone_in

    setting = _setting(args, bases)
    with alone_in(Path(args.out)):
        sheet = Sheet(Path(args.out) / "results.csv")
        if args.workers == 1:
            measure(figure, setting, bases, sheet, progress)
            return sheet.rows
        with of_workers(args.workers, partial(_bases, args)) as outcomes:
            measure(figure, setting, bases, sheet, progress, outcomes)
    return sheet.rows


def factors(text: str) -> tuple[float, ...]:
    """Factors, separated by commas."""
    return tuple(factor(part.strip()) for part in text.split(","))


def _check(args: argparse.Namespace) -> None:
    """Raises: ArgumentError if options do not go together."""
    if any(len(one) < 2 for one in args.set):
        raise ArgumentError("--set takes labelled images and at least one network: --set TEST.npz NET.onnx")
    if args.train and len(args.train) != len(args.set):
        raise ArgumentError(f"{len(args.train)} --train for {len(args.set)} --set: give one for each, in their order")
    if args.repair is not None and not args.train:
        raise ArgumentError(f"--repair {args.repair} needs training images: give --train for each --set")
    if args.epochs is not None and not args.train:
        raise ArgumentError("--epochs needs training images: give --train for each --set")


def _bases(args: argparse.Namespace) -> list[Base]:
    from upscale_onnx.experiments.bases import Base
    from upscale_onnx.measures.data import labelled
    from upscale_onnx.model import load_model
    from upscale_onnx.runtime.place import Place

    session, preprocessing = session_from(args), preprocessing_from(args)
    place, found = Place(session["provider"], args.threads), []
    for group, (data, *paths) in enumerate(args.set):
        for path in paths:
            model = load_model(path)
            options = Options.of(method="constrained", **session)
            if args.train:
                calibration = _calibration(model, args.train[group], preprocessing, args.calibrate)
                options = options.replaced(calibration=calibration, repair=args.repair)
            measure = labelled(model, data, preprocessing, limit=args.limit, seed=args.seed, place=place)
            found.append(Base(Path(path).stem, group, model, options, measure, _tune(model, args, group)))
    return found


def _tune(model: onnx.ModelProto, args: argparse.Namespace, group: int) -> Tune | None:
    """What trains the pruned networks of a data set. Raises: ArgumentError where PyTorch is missing."""
    if args.epochs is None:
        return None
    check_torch()
    from upscale_onnx.training.tuning import Tuning

    settings = Training(epochs=args.epochs, rate=args.rate, seed=args.seed, threads=args.threads)
    tuning = Tuning.of(model, args.train[group], settings, preprocessing_from(args), args.images)
    return lambda pruned, point: tuning(pruned, point.init, args.seed + point.number)


def _calibration(model: onnx.ModelProto, data: str, preprocessing: Preprocessing, count: int) -> Mapping[str, Array]:
    """The first images of `data`, as the model takes them, and their labels."""
    from upscale_onnx.measures.labelled_images import open_images
    from upscale_onnx.runtime.inputs import input_specs

    name = input_specs(model)[0].name
    images = open_images(data, preprocessing.size, name)
    count = min(count, images.labels.size)
    return {name: preprocessing.apply(images.read(0, count)), "y": images.labels[:count]}


def _setting(args: argparse.Namespace, bases: Sequence[Base]) -> Setting:
    from upscale_onnx.experiments.figures import Setting
    from upscale_onnx.masks.profiles import keep_ratios

    decisions = bases[0].space(args.criterion).decisions
    files = tuple(
        (Path(path).name, keep_ratios(path, decisions, 0.0, 0, "input", "constrained")) for path in args.profile
    )
    names = ("compressions", "draws", "profiles", "transferred", "choice", "criterion")
    chosen = {name: getattr(args, name) for name in names} | {"reference": args.reference or args.profiles}
    return Setting(tuple(base.group for base in bases), decisions, files=files, **chosen)


def _settings(args: argparse.Namespace, bases: Sequence[Base]) -> dict[str, str]:
    """All that decides about outcomes and is no part of a point, by the word for it."""
    from upscale_onnx.model.stream import digest
    from upscale_onnx.paper.subject import setup_checksum

    names = ("repair", "calibrate", "epochs", "images", "rate", "limit", "seed")
    found: dict[str, Any] = {name: getattr(args, name) for name in names}
    found["figure"] = args.figure
    found["list of networks"] = [digest(base.model)[:16] for base in bases]
    found["content of data"] = setup_checksum((*(one[0] for one in args.set), *args.train))
    found["preprocessing"] = preprocessing_from(args)
    return {name: str(value) for name, value in found.items()}
