"""The command that prunes a model in turns with training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from upscale_onnx.cli.arguments import criterion_name, given, positive, ratio
from upscale_onnx.cli.evaluate import preprocessing_from
from upscale_onnx.cli.finetune import (
    add_data,
    add_reports,
    add_training,
    state_from,
    training_from,
    write_reports,
)
from upscale_onnx.cli.output import Output
from upscale_onnx.options import Export, ExportOptions, PruneOptions, Scope, Side
from upscale_onnx.training.schedules import ScheduleName

SUMMARY = "prune a model in turns with training, and compile the result"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("input", metavar="in.onnx", help="the model to prune, a classifier")
    parser.add_argument("output", metavar="out.onnx", help="where to write the compiled model")
    add_data(parser)
    group = parser.add_argument_group("pruning")
    group.add_argument("--amount", type=ratio, required=True, metavar="A", help="share of the channels that go")
    group.add_argument(
        "--schedule",
        choices=get_args(ScheduleName),
        default="one-shot",
        help="when is pruned: at once; gradually, by a cubic curve; after each epoch, and channels may come back; in "
        "rounds, by what layers tolerate; by equal cuts with a few updates between; layer by layer "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--steps", dest="rounds", type=positive, metavar="N", help="how many cuts (default: of the schedule)"
    )
    group.add_argument(
        "--updates", type=positive, metavar="N", help="steps between two cuts (default: of the schedule)"
    )
    group.add_argument(
        "--criterion",
        type=criterion_name,
        metavar="NAME",
        help="as for compile (default: l2; taylor:norm=l2 for molchanov, l1 for layerwise)",
    )
    group.add_argument("--side", choices=get_args(Side), default=PruneOptions.side, help="default: %(default)s")
    group.add_argument(
        "--method",
        choices=("unconstrained", "constrained"),
        default="unconstrained",
        help="whether layers that share channels agree (default: %(default)s)",
    )
    group.add_argument(
        "--scope", choices=get_args(Scope), help="channels ranked together (default: local; global for molchanov)"
    )
    add_training(parser.add_argument_group("training"))
    compiling = parser.add_argument_group("compiling")
    compiling.add_argument(
        "--write-masked", dest="masked", metavar="FILE", help="also write the trained model before it is compiled"
    )
    compiling.add_argument(
        "--export", choices=get_args(Export), default=ExportOptions.recipe, help="as for compile (default: %(default)s)"
    )
    compiling.add_argument("--no-race", dest="race", action="store_false", help="do not time anything: auto takes keep")
    add_reports(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Prune and train, compile, write, report. Returns the exit code."""
    from upscale_onnx.model import save_model
    from upscale_onnx.report.rows import report_tables
    from upscale_onnx.report.training_rows import course_table
    from upscale_onnx.training.compiled import prune
    from upscale_onnx.training.pruning import Pruning

    pruning = Pruning(
        args.schedule, args.amount, args.criterion, args.side, args.method, args.scope, args.rounds, args.updates
    )
    state = state_from(args)
    with output.progress() as progress:
        found = prune(
            args.input,
            pruning,
            args.data,
            args.val,
            training_from(args),
            preprocessing_from(args),
            teacher=args.distill,
            state=state,
            limit=args.limit,
            progress=progress,
            **given(args, "export", "race", "seed", "threads"),
        )
    with output.publishing() as files:
        write_reports(found.course, args, output, files)
        if args.masked is not None:
            save_model(found.masked, args.masked, files=files)
        save_model(found.model, args.output, files=files)
    Path(state).unlink(missing_ok=True)
    output.tables([course_table(found.course), *report_tables(found.report, verbose=output.verbose)])
    output.written(args.output)
    return 0
