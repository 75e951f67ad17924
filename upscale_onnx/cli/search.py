"""The command that searches for profiles: the shares of their channels that layers keep."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import get_args

from upscale_onnx.cli.arguments import (
    add_common,
    add_option,
    add_session,
    add_threads,
    criterion_name,
    factor,
    given,
    natural,
    positive,
    positive_number,
)
from upscale_onnx.cli.evaluate import add_preprocessing, preprocessing_from
from upscale_onnx.cli.origin import origin_of
from upscale_onnx.cli.output import Output
from upscale_onnx.cli.parser import Listed
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import PruneOptions, Repair, Side
from upscale_onnx.pruning.criteria import CRITERIA
from upscale_onnx.searching.goals import LARGER_IS_BETTER, Constraint, Goals
from upscale_onnx.training.settings import Training

SUMMARY = "search for the shares of channels that layers keep, for accuracy, latency, sizes, or several of these"

_LIMIT = 1000
_CHOICES = ("scores", "exact", "bernoulli")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "models", nargs="+", metavar="in.onnx", help="the unpruned model; or several of one architecture: means count"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the search and its results")
    parser.add_argument("--data", metavar="DATA", help="labelled images to measure accuracy on, as for evaluate")
    parser.add_argument("--judge", metavar="DATA", help="other labelled images, to judge the results on")
    _add_goals(parser.add_argument_group("what is searched for"))
    _add_course(parser.add_argument_group("how it is searched for"))
    _add_pruning(parser.add_argument_group("what is pruned"))
    add_option(parser, "--limit", positive, "N", _LIMIT, "samples to measure on, held in memory")
    parser.add_argument("--target", metavar="NAME|FILE", help="what latencies are predicted for, as for compile")
    add_threads(parser)
    add_session(parser)
    add_preprocessing(parser.add_argument_group("from images to inputs"))
    add_common(parser)


def _add_goals(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--objective",
        dest="objectives",
        type=objectives,
        action=Listed,
        metavar="NAME[,NAME…]",
        help=f"{', '.join(LARGER_IS_BETTER)}; of several, the front is found (default: accuracy,params; accuracy where "
        "something is constrained)",
    )
    group.add_argument(
        "--constrain",
        dest="constraints",
        type=constraints,
        action=Listed,
        default=(),
        metavar="C[,C…]",
        help="what has to hold, as shares of the unpruned model: latency<=0.5,accuracy>=0.9",
    )
    group.add_argument(
        "--compression",
        type=factor,
        metavar="F",
        help="at most 1/F of the parameters; random profiles are scaled to it",
    )


def _add_course(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--strategy",
        type=name,
        default="tpe",
        metavar="NAME",
        help="random, greedy, local, tpe, nsga2, gp or ppo (these two need PyTorch); each begins with profiles by rule "
        "(default: tpe)",
    )
    add_option(group, "--trials", positive, "N", 100, "trials of all processes and starts together")
    group.add_argument("--seconds", type=positive_number, metavar="S", help="begin no trial after S seconds")
    add_option(group, "--greedy", natural, "N", 0, "trials that strategy greedy makes before the other one")
    add_option(group, "--workers", positive, "N", 1, "processes on this machine")
    group.add_argument(
        "--callback",
        dest="callbacks",
        type=callbacks,
        action=Listed,
        default=(),
        metavar="MODULE:NAME[,…]",
        help="optuna's callbacks, which are told of each finished trial, such as optuna_integration:MLflowCallback",
    )
    group.add_argument("--address", type=name, metavar="ADDR", help="run trials on the Ray cluster there, or auto")


def _add_pruning(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--method", choices=("constrained", "unconstrained"), default="constrained", help="as compile")
    group.add_argument("--side", choices=get_args(Side), default=PruneOptions.side, help="default: %(default)s")
    add_option(group, "--criterion", criterion_name, "NAME", PruneOptions.criterion, ", ".join(CRITERIA))
    group.add_argument(
        "--calibration",
        metavar="FILE",
        help=".npz with inputs, for some criteria, --repair, and to compare outputs on where there is no --data",
    )
    group.add_argument("--repair", choices=get_args(Repair), help="repair every profile that is tried")
    group.add_argument(
        "--choice",
        choices=_CHOICES,
        default="scores",
        help="how channels are chosen: by the criterion, as many at random, or each at random (default: %(default)s)",
    )
    group.add_argument(
        "--finetune", type=positive, metavar="EPOCHS", help="train every profile that is tried, on --train"
    )
    group.add_argument("--train", metavar="DATA", help="labelled data to train on, as for finetune")
    add_option(group, "--rate", positive_number, "R", Training.rate, "highest learning rate")


def run(args: argparse.Namespace, output: Output) -> int:
    """Search and report. Returns the exit code."""
    _check(args)
    from upscale_onnx.cli.search_output import report
    from upscale_onnx.model import load_model
    from upscale_onnx.options.calls import Sharing, options_of
    from upscale_onnx.searching.search import ended
    from upscale_onnx.searching.settings import Searching
    from upscale_onnx.searching.setup import Asked

    settings = Searching(**given(args, *(part.name for part in fields(Searching))))
    names = ("method", "side", "criterion", "calibration", "repair", "target", "provider", "threads", "seed")
    wanted = options_of(Sharing, None, given(args, *names))
    with output.progress() as progress:
        asked = Asked(
            [load_model(path) for path in args.models],
            args.out,
            settings,
            wanted,
            args.data,
            args.judge,
            args.train,
            _training(args),
            preprocessing_from(args),
        )
        with ended(asked, progress) as (ending, found):
            return report(ending, found, args.models, output, origin_of(args))


def _training(args: argparse.Namespace) -> Training | None:
    """How profiles that are tried are trained; None where they are not."""
    if args.finetune is None:
        return None
    return Training(epochs=args.finetune, rate=args.rate, seed=args.seed, threads=args.threads)


def _check(args: argparse.Namespace) -> None:
    """Raises: ArgumentError if options do not go together."""
    if args.data is None and args.calibration is None:
        raise ArgumentError("a search needs something to measure on: --data, or --calibration without labels")
    if args.data is None and args.judge is not None:
        raise ArgumentError("--judge needs --data: without labels there is no accuracy to judge")
    if args.address is not None and args.workers > 1:
        raise ArgumentError("--workers are processes on this machine: leave it out with --address")
    if (args.finetune is None) != (args.train is None):
        raise ArgumentError("--finetune and --train go together: how many epochs, and the data to train on")


def name(text: str) -> str:
    """A text that is no path."""
    return text


def callbacks(text: str) -> tuple[str, ...]:
    """Names of callbacks, separated by commas."""
    return tuple(part.strip() for part in text.split(","))


def objectives(text: str) -> tuple[str, ...]:
    """Names of objectives, separated by commas."""
    chosen = tuple(part.strip() for part in text.split(","))
    try:
        Goals(chosen, (Constraint("accuracy", False, 1.0),))
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return chosen


def constraints(text: str) -> tuple[str, ...]:
    """Constraints, separated by commas."""
    found = tuple(part.strip() for part in text.split(","))
    try:
        for part in found:
            Constraint.parse(part)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return found
