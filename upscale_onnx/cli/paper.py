"""The command that repeats the paper's experiment on a model."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from upscale_onnx.cli.arguments import (
    add_common,
    add_option,
    add_session,
    add_threads,
    criterion_name,
    fraction,
    given,
    natural,
    positive,
    positive_number,
    session_from,
)
from upscale_onnx.cli.evaluate import add_preprocessing, preprocessing_from
from upscale_onnx.cli.output import Output, complain
from upscale_onnx.cli.parser import Listed
from upscale_onnx.errors import ArgumentError, UpscaleError
from upscale_onnx.options import Export, ExportOptions, Method, PruneOptions, Repair, Side
from upscale_onnx.pruning.criteria import CRITERIA
from upscale_onnx.training.settings import Training

if TYPE_CHECKING:
    import onnx

    from upscale_onnx.paper.experiment import Experiment
    from upscale_onnx.paper.rows import Row
    from upscale_onnx.paper.trial import Trial
    from upscale_onnx.report.rows import Table

SUMMARY = "repeat the paper's experiment: unconstrained and constrained masks, the export and the baseline"

_AMOUNTS = (0.1, 0.2, 0.3, 0.4, 0.5)
_METHODS = ("unconstrained", "constrained")
_BUDGET_S = 6.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file, or the name of a network in torchvision")
    grid = parser.add_argument_group("the grid: one trial per combination; separate several values by commas or spaces")
    side = PruneOptions.side
    _add_many(grid, ("--side",), "SIDE", one_of(get_args(Side)), (side,), f"input, output (default: {side})")
    _add_many(grid, ("--method",), "METHOD", one_of(get_args(Method)), _METHODS, f"of {', '.join(get_args(Method))}")
    _add_many(grid, ("--amount",), "A", fraction, _AMOUNTS, "shares of channels to prune (default: 0.1 to 0.5)")
    criteria = f"of {', '.join(CRITERIA)} (default: l2)"
    _add_many(grid, ("--criterion", "--heuristic"), "NAME", criterion_name, ("l2",), criteria)
    grid.add_argument(
        "--global", dest="is_global", action="store_true", help="rank the channels of all layers together"
    )
    grid.add_argument("--repair", choices=get_args(Repair), help="repair every masked model without labels")
    grid.add_argument("--calibration", metavar="FILE", help=".npz with inputs by name (or x), for criteria and repair")
    training = parser.add_argument_group("training of every masked model before it is judged, by Adam")
    add_option(training, "--epochs", natural, "N", 0, "epochs")
    training.add_argument("--train", metavar="PATH", help="labelled images to train on, of the kind of --data")
    add_option(training, "--batch", positive, "N", Training.batch, "samples of a step, if the model does not fix it")
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--data",
        metavar="PATH",
        help="labelled images, as `evaluate` takes them (default: compare outputs with the unpruned model's)",
    )
    what.add_argument(
        "--limit", type=positive, metavar="N", help="evaluate N images, drawn by --seed, or compare on N samples"
    )
    add_preprocessing(what)
    what.add_argument(
        "--latency", action="store_true", help="also time the export, the baseline and the model as it is"
    )
    what.add_argument(
        "--export",
        choices=get_args(Export),
        default=ExportOptions.recipe,
        help="export to compare with the baseline, which uses Gather (default: %(default)s, the fastest; upscale is "
        "the paper's)",
    )
    add_option(what, "--budget", positive_number, "S", _BUDGET_S, "seconds per race")
    add_threads(what)
    add_session(what)
    parser.add_argument(
        "--out", default="paper", metavar="DIR", help="folder for results.csv and plots (default: %(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="measure trials again that are already in results.csv")
    parser.add_argument(
        "--clean",
        action="store_true",
        help="leave one of the rows of results.csv that differ only in what files held, or in options without a column",
    )
    add_common(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Run the trials that are missing in results.csv, report, draw. Returns the exit code: 0 if every trial ran."""
    trials = _trials(args)
    _check_data(args)
    from upscale_onnx.paper.book import Book
    from upscale_onnx.paper.experiment import run as run_trials
    from upscale_onnx.paper.rows import is_of
    from upscale_onnx.paper.subject import open_model

    folder = _folder(args.out)
    book = Book(folder / "results.csv")
    known = {row.key: row for row in book.rows()}
    experiment = _experiment(args, open_model(args.model))
    mine = [experiment.row(trial).key for trial in trials]
    if args.force:
        known = {key: row for key, row in known.items() if key not in mine}
    failures: list[UpscaleError] = []

    def failed(trial: Trial, error: UpscaleError) -> None:
        failures.append(error)
        complain(f"upscale_onnx: error: {trial}: {error}")

    with output.progress() as progress:
        for row in run_trials(experiment, trials, known, progress=progress, failed=failed):
            book.add(row)
    if args.clean:
        book.clean(experiment.setting)
    rows = book.rows()
    wanted = set(mine)
    output.tables([_table([row for row in rows if row.key in wanted])])
    output.written(str(book.path))
    _draw([row for row in rows if is_of(row, experiment.setting)], folder, output)
    return failures[-1].exit_code if failures else 0


def one_of(names: Sequence[str]) -> Callable[[str], str]:
    """A type for arguments that accepts the words in `names`."""

    def choose(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(names)}")
        return text

    return choose


def _add_many(
    group: argparse._ArgumentGroup,
    names: tuple[str, ...],
    metavar: str,
    kind: Callable[[str], object],
    default: Sequence[object],
    what: str,
) -> None:
    def several(text: str) -> tuple[object, ...]:
        return tuple(kind(part.strip()) for part in text.split(","))

    group.add_argument(*names, nargs="+", action=Listed, type=several, default=default, metavar=metavar, help=what)


def _trials(args: argparse.Namespace) -> tuple[Trial, ...]:
    from upscale_onnx.paper.trial import grid

    return grid(args.side, args.method, args.criterion, args.amount, "global" if args.is_global else "local")


def _check_data(args: argparse.Namespace) -> None:
    if (args.epochs > 0) != (args.train is not None):
        raise ArgumentError("--epochs and --train go together: how long to train, and on which labelled images")
    if args.data is not None:
        return
    if args.epochs:
        raise ArgumentError("--epochs has no effect without --data: give labelled images to judge on")
    for name in ("mean", "std", "normalise", "size"):
        if getattr(args, name) is not None:
            raise ArgumentError(f"--{name} has no effect without --data: give labelled images, or leave it out")


def _folder(path: str) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be made a folder: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK):
        raise ArgumentError(f"{path}: cannot be written to; choose another --out")
    return folder


def _experiment(args: argparse.Namespace, model: onnx.ModelProto) -> Experiment:
    from upscale_onnx.paper.experiment import Experiment
    from upscale_onnx.paper.rows import Setting
    from upscale_onnx.paper.subject import model_checksum, setup_checksum

    preprocessing = None if args.data is None else preprocessing_from(args)
    setting = Setting(
        model=Path(args.model).name,
        checksum=model_checksum(model),
        data=_name(args.data),
        calibration=_name(args.calibration),
        repair=args.repair or "",
        train=_name(args.train),
        epochs=args.epochs,
        **session_from(args),
        setup=setup_checksum(
            (args.data, args.calibration, args.train), preprocessing, args.limit, args.export, args.batch
        ),
    )
    chosen = given(args, "data", "train", "batch", "limit", "calibration", "repair", "export", "latency")
    return Experiment(model, setting, preprocessing=preprocessing, budget_s=args.budget, **chosen)


def _name(path: str | None) -> str:
    return "" if path is None else Path(path).name


def _table(rows: Sequence[Row]) -> Table:
    """What was measured, one row per trial. Columns without any value are left out."""
    from upscale_onnx.report.rows import Table

    names = ("channels", "parameters", "macs", "top1", "top5", "distance", "baseline_ms", "latency_ms", "ratio")
    shown = [name for name in names if any(getattr(row, name) is not None for row in rows)]
    lines = tuple(
        (f"{row.side} {row.method} {row.criterion} {row.amount:g}", *(getattr(row, name) for name in shown))
        for row in rows
    )
    facts = [("unpruned_top1", row.unpruned_top1) for row in rows if row.unpruned_top1 is not None][:1]
    return Table("paper", "Trials", ("", *shown), lines, tuple(facts))


def _draw(rows: Sequence[Row], folder: Path, output: Output) -> None:
    """Draw each plot that there are results for. If matplotlib is missing, print a message instead."""
    from upscale_onnx.paper.curves import accuracy_gaps, latencies, unpruned_ms
    from upscale_onnx.report.paper_plot import write_gap_plot, write_latency_plot

    gaps, axis = accuracy_gaps(rows)
    groups = latencies(rows)
    if not gaps and not groups:
        return
    title = rows[0].model if not rows[0].data else f"{rows[0].model}, {rows[0].data}"
    try:
        if gaps:
            write_gap_plot(gaps, axis, title, folder / "accuracy.png")
            output.written(str(folder / "accuracy.png"))
        if groups:
            write_latency_plot(groups, unpruned_ms(rows), title, folder / "latency.png")
            output.written(str(folder / "latency.png"))
    except ArgumentError as error:  # results.csv is written nevertheless
        complain(f"upscale_onnx: nothing is drawn: {error}")
