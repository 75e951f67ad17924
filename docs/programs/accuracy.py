"""Accuracy of pruned networks, with and without repair: by amount, and where latencies are equal.

    python accuracy.py grid NETWORK.onnx --train TRAIN.npz --test TEST.npz --normalise imagenet --out grid.csv
    python accuracy.py latency NETWORK.onnx --train TRAIN.npz --test TEST.npz --normalise imagenet --out race.csv
    python accuracy.py tables --grid grid.csv --latency race.csv

`grid` measures amounts, sides, methods, criteria and repairs, by default all of scope "local" but the method "hybrid"
and the repair "joint". `latency` also compiles each pruned network to its fastest export and races all against the
unpruned one. Both add to --out what it lacks, so that they can be stopped and started again; use one file for each
network that is measured at the same time. Ratios that other work disturbed (their confidence interval spans more than a
fifth) are measured again the next time. `tables` prints any number of such files as Markdown, and interpolates accuracy
where latencies are equal, without disturbed ratios.

TRAIN and TEST are what `upscale_onnx evaluate` reads. Criteria that need labels are given those of TRAIN, nothing
else is. Where both are one file, its images are divided: half calibrate, half judge.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import accuracy_grid
import accuracy_latency
import onnx
from accuracy_data import Data, Results, draw, read_rows
from accuracy_grid import Case, Setting, cases
from accuracy_latency import Racing
from accuracy_tables import by_amount, by_latency

from upscale_onnx.cli.arguments import fraction, positive, positive_number
from upscale_onnx.cli.evaluate import add_preprocessing, preprocessing_from
from upscale_onnx.errors import UpscaleError
from upscale_onnx.model import load_model
from upscale_onnx.pruning.criteria import CRITERIA

AMOUNTS = (0.1, 0.2, 0.3, 0.4, 0.5)
SIDES = ("input", "output")
METHODS = ("unconstrained", "constrained", "hybrid")
SCOPES = ("local", "global", "isomorphic")
REPAIRS = ("none", "stats", "lsq", "joint")
DEFAULT_REPAIRS = ("none", "stats", "lsq")  # joint takes minutes for each case


def main(argv: Sequence[str] | None = None) -> int:
    """Measure or print; the exit code, 2 if any case failed that exists for the network."""
    args = _arguments(argv)
    try:
        status: int = args.run(args)
    except UpscaleError as error:
        print(f"accuracy.py: error: {error}", file=sys.stderr)
        return error.exit_code
    return status


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    grid = commands.add_parser("grid", help="accuracy by amount")
    grid.set_defaults(run=_grid)
    latency = commands.add_parser("latency", help="accuracy and latency of compiled networks")
    latency.set_defaults(run=_latency)
    for command in (grid, latency):
        raced = command is latency
        command.add_argument("network", type=Path)
        command.add_argument("--train", type=Path, required=True)
        command.add_argument("--test", type=Path, required=True)
        command.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
        command.add_argument("--amounts", type=fraction, nargs="+", default=AMOUNTS, metavar="A")
        criteria = ("obs", "l2") if raced else CRITERIA
        command.add_argument(
            "--criteria", nargs="+", default=criteria, metavar="C", help=f"default: {' '.join(criteria)}"
        )
        command.add_argument("--sides", nargs="+", default=SIDES[:1] if raced else SIDES, choices=SIDES)
        # Without a latency, hybrid has nothing to choose by.
        command.add_argument("--methods", nargs="+", default=METHODS if raced else METHODS[:2], choices=METHODS)
        command.add_argument("--scopes", nargs="+", default=SCOPES[:1], choices=SCOPES)
        command.add_argument(
            "--repairs", nargs="+", default=("none", "lsq") if raced else DEFAULT_REPAIRS, choices=REPAIRS
        )
        command.add_argument("--masks", default="flat", choices=("flat", "aware"))
        command.add_argument("--calibrate", type=positive, default=1024, metavar="N", help="images to calibrate on")
        command.add_argument("--judge", type=positive, default=2000, metavar="N", help="images to judge by")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--threads", type=positive, default=1, metavar="N")
        add_preprocessing(command)
    latency.add_argument("--batch", type=positive, default=Racing.batch, metavar="N")
    latency.add_argument("--rounds", type=positive, default=Racing.rounds, metavar="N")
    latency.add_argument("--budget", type=positive_number, default=Racing.seconds, metavar="S", help="of one race")
    tables = commands.add_parser("tables", help="print what was measured")
    tables.set_defaults(run=_tables)
    tables.add_argument("--grid", type=Path, nargs="+", default=[], metavar="FILE.csv")
    tables.add_argument("--latency", type=Path, nargs="+", default=[], metavar="FILE.csv")
    return parser.parse_args(argv)


def _grid(args: argparse.Namespace) -> int:
    results = Results(args.out, accuracy_grid.KEY, accuracy_grid.MEASURED)
    with tempfile.TemporaryDirectory() as folder:
        model, data, setting = _drawn(args, Path(folder))
        failed = accuracy_grid.measure(model, _cases(args), data, setting, results, args.threads)
    return 2 if failed else 0


def _latency(args: argparse.Namespace) -> int:
    results = Results(args.out, accuracy_latency.KEY, accuracy_latency.MEASURED)
    racing = Racing(args.batch, args.threads, args.rounds, args.budget)
    if again := results.forget(accuracy_latency.disturbed):
        print(f"{again} ratios were disturbed by other work and are measured again", flush=True)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        model, data, setting = _drawn(args, Path(folder))
        # One race for what is compared, so that an interrupted run loses little.
        for _, raced in groupby(_cases(args), key=lambda case: (case.criterion, case.side)):
            together = sorted(raced, key=lambda case: case.repair)
            for _, group in groupby(together, key=lambda case: case.repair):
                failed += accuracy_latency.measure(model, list(group), data, setting, results, racing)
    return 2 if failed else 0


def _drawn(args: argparse.Namespace, folder: Path) -> tuple[onnx.ModelProto, Data, Setting]:
    model, setting = load_model(args.network), Setting(args.network.stem, args.calibrate, args.judge, args.seed)
    data = draw(
        model, args.train, args.test, folder, preprocessing_from(args),
        calibrate=args.calibrate, judge=args.judge, seed=args.seed,
    )  # fmt: skip
    return model, data, setting


def _cases(args: argparse.Namespace) -> list[Case]:
    return list(cases(args.criteria, args.sides, args.methods, args.scopes, args.masks, args.repairs, args.amounts))


def _tables(args: argparse.Namespace) -> int:
    if args.grid:
        print(by_amount(read_rows(args.grid)))
    if args.latency:
        print(by_latency(read_rows(args.latency)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
