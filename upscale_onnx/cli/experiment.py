"""The command that repeats a figure of "Out-of-the-box Channel Pruned Networks" on given networks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
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
    session_from,
)
from upscale_onnx.cli.evaluate import add_preprocessing, preprocessing_from
from upscale_onnx.cli.output import Output
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Options, Repair
from upscale_onnx.prune.criteria import CRITERIA

if TYPE_CHECKING:
    import onnx

    from upscale_onnx.experiments.bases import Base
    from upscale_onnx.experiments.figures import Setting
    from upscale_onnx.experiments.points import Rows
    from upscale_onnx.measures.accuracy import Preprocessing
    from upscale_onnx.report.rows import Table
    from upscale_onnx.types import Array

SUMMARY = "repeat a figure of Out-of-the-box Channel Pruned Networks on your networks"

_NAMES = ("figure1", "figure2", "figure3", "figure4", "figure6")
_CHOICES = ("scores", "exact", "bernoulli")
_COMPRESSIONS = (2.0, 3.0, 4.0, 6.0)
_LIMIT, _CALIBRATE, _DRAWS, _PROFILES = 2000, 64, 5, 1200
_CLOUD = 20  # more draws than this are drawn as dots
_COLUMNS = ("draws", "compression", "accuracy", "deviation", "median", "best", "rank")


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
        "--set for each data set. The first network is searched on, the last is judged by figures 4 and 6",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results")
    what = parser.add_argument_group("what is measured")
    what.add_argument("--compressions", type=factors, default=_COMPRESSIONS, metavar="F[,F…]", help="default: 2,3,4,6")
    add_option(what, "--draws", positive, "N", _DRAWS, "networks for each point, where something is random")
    add_option(what, "--profiles", positive, "N", _PROFILES, "random profiles of figure 4 to search among")
    what.add_argument(
        "--reference", type=positive, metavar="N", help="random profiles to judge by (default: as many as --profiles)"
    )
    add_option(what, "--transferred", positive, "N", 1, "how many of the best profiles figure 4 transfers")
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
    add_threads(parser)
    add_session(parser)
    add_preprocessing(parser.add_argument_group("from images to inputs"))
    add_common(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Measure what is missing, report, draw. Returns the exit code."""
    _check(args)
    from upscale_onnx.experiments.figures import figure
    from upscale_onnx.experiments.points import Sheet
    from upscale_onnx.experiments.run import check_folder, measure

    folder = Path(args.out)
    with output.progress() as progress:
        progress("read the networks and their data", 0.0)
        bases = _bases(args)
        setting = _setting(args, bases)
        check_folder(folder, _settings(args, bases))
        sheet = Sheet(folder / "results.csv")
        measure(figure(args.figure), setting, bases, sheet, progress)
    table = _table(args.figure, sheet.rows, bases)
    note = _draw(folder / f"{args.figure}.png", sheet.rows, bases)
    _write(table, folder / "summary.csv")
    output.tables([table])
    if note is not None:
        output.text(f"{args.figure}.png is not drawn: {note}\n")
    output.written(str(folder))
    return 0


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
            found.append(Base(Path(path).stem, group, model, options, measure))
    return found


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

    names = ("repair", "calibrate", "limit", "seed")
    found: dict[str, Any] = {name: getattr(args, name) for name in names}
    found["figure"] = args.figure
    found["list of networks"] = [digest(base.model)[:16] for base in bases]
    found["content of data"] = setup_checksum((*(one[0] for one in args.set), *args.train))
    found["preprocessing"] = preprocessing_from(args)
    return {name: str(value) for name, value in found.items()}


def _table(figure: str, rows: Rows, bases: Sequence[Base]) -> Table:
    from upscale_onnx.experiments.summary import lines
    from upscale_onnx.report.rows import Table

    found = list(lines(rows))
    shown = [name for name in _COLUMNS if any(getattr(line, name) is not None for line in found)]
    cells = tuple(
        (f"{bases[line.network].name}: {line.label}", line.aim, *(getattr(line, name) for name in shown))
        for line in found
    )
    facts = tuple((f"unpruned.{base.name}", base.measure.baseline) for base in bases)
    return Table("experiment", figure, ("", "aim", *shown), cells, facts)


def _write(table: Table, path: Path) -> None:
    from upscale_onnx.report.csv import write_rows

    write_rows(("line", *table.columns[1:]), table.rows, path)


def _draw(path: Path, rows: Rows, bases: Sequence[Base]) -> str | None:
    """Draw the figure. Returns why that could not be done, if so."""
    if not any(found.is_met for found in rows.values()):
        return "no network has any of these compressions"
    from upscale_onnx.experiments.summary import label, lines
    from upscale_onnx.report.experiment_plot import write_experiment

    bands: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    clouds: dict[str, dict[str, list[tuple[float, float]]]] = {}
    many = {(line.network, line.label) for line in lines(rows) if line.draws > _CLOUD}
    for line in lines(rows):
        if (line.network, line.label) not in many:
            own = bands.setdefault(bases[line.network].name, {})
            own.setdefault(line.label, []).append((line.compression, line.accuracy, line.deviation or 0.0))
    for point, found in rows.items():
        if found.is_met and (point.network, label(point)) in many:
            dots = clouds.setdefault(bases[point.network].name, {})
            dots.setdefault(label(point), []).append((found.compression, found.accuracy))
    try:
        write_experiment(clouds, bands, path)
    except ArgumentError as error:
        return str(error)
    return None
