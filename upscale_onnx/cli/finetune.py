"""The command that trains a model from its ONNX file."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from upscale_onnx.cli.arguments import (
    Group,
    add_common,
    add_option,
    add_threads,
    fraction,
    loss,
    natural,
    positive,
    positive_number,
)
from upscale_onnx.cli.evaluate import add_preprocessing, preprocessing_from
from upscale_onnx.cli.output import Output
from upscale_onnx.training.settings import (
    Augmentation,
    Initial,
    Kept,
    Norms,
    Optimizer,
    Precision,
    RateSchedule,
    Training,
)

if TYPE_CHECKING:
    from upscale_onnx.report.rows import Cell
    from upscale_onnx.training.finetune import Course

SUMMARY = "train a model on labelled data; masked channels stay masked"

_COLUMNS = ("number", "loss", "train_accuracy", "accuracy", "seconds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("input", metavar="in.onnx", help="the model to train, a classifier")
    parser.add_argument("output", metavar="out.onnx", help="where to write the trained model")
    add_data(parser)
    add_training(parser.add_argument_group("training"))
    parser.add_argument("--distill", metavar="TEACHER", help="learn the scores of this model, too")
    parser.add_argument(
        "--state",
        metavar="FILE",
        help="state after each epoch, from which the same command goes on; it is removed at the end (default: "
        "out.onnx.training)",
    )
    add_preprocessing(parser.add_argument_group("from images to inputs"))
    reports = parser.add_argument_group("what to write")
    reports.add_argument("--json", metavar="FILE", help="the epochs as JSON")
    reports.add_argument("--csv", metavar="FILE", help="the epochs as CSV")
    add_common(parser)


def add_data(parser: Group) -> None:
    """Add the options that name labelled data."""
    parser.add_argument("--data", metavar="TRAIN", required=True, help="labelled data to train on, as for evaluate")
    parser.add_argument("--val", metavar="VAL", required=True, help="labelled data to judge each epoch on")
    parser.add_argument("--limit", type=positive, metavar="N", help="judge on N images, held in memory (default: all)")


def add_training(parser: Group) -> None:
    """Add one option for each setting of a training."""
    usual = Training()
    add_option(parser, "--epochs", positive, "N", usual.epochs, "passes over the data")
    add_option(parser, "--batch", positive, "N", usual.batch, "samples of a step, if the model does not fix it")
    choices = (
        ("optimizer", Optimizer, "sgd has Nesterov momentum"),
        ("schedule", RateSchedule, "of the learning rate"),
        ("augment", Augmentation, "shift images, or shift and mirror them, at random"),
        ("norms", Norms, "whether BatchNormalization trains"),
        ("init", Initial, "start from the weights of the model, or from random ones (He et al. 2015)"),
        ("precision", Precision, "of convolutions and products"),
        ("keep", Kept, "the epoch whose weights are written, by accuracy on --val"),
    )
    for name, kinds, what in choices:
        told = f"{what} (default: %(default)s)"
        parser.add_argument(f"--{name}", choices=get_args(kinds), default=getattr(usual, name), help=told)
    add_option(parser, "--rate", positive_number, "R", usual.rate, "highest learning rate")
    add_option(parser, "--momentum", fraction, "M", usual.momentum, "of sgd")
    add_option(parser, "--weight-decay", loss, "D", usual.weight_decay, "weight decay")
    add_option(parser, "--label-smoothing", fraction, "S", usual.label_smoothing, "label smoothing")
    add_option(parser, "--temperature", positive_number, "T", usual.temperature, "that softens a teacher's scores")
    add_option(parser, "--distill-weight", loss, "W", usual.distill_weight, "what a teacher counts; labels count 1 - W")
    add_option(parser, "--seed", natural, "N", usual.seed, "seed of everything random")
    add_threads(parser)


def training_from(args: argparse.Namespace) -> Training:
    """The settings of the training, from `args`."""
    return replace(Training(), **{part.name: getattr(args, part.name) for part in fields(Training)})


def run(args: argparse.Namespace, output: Output) -> int:
    """Train, write, report. Returns the exit code."""
    from upscale_onnx.model import save_model
    from upscale_onnx.report.csv import write_rows
    from upscale_onnx.report.json import write_json
    from upscale_onnx.training.load import finetune_function

    state = args.state or f"{args.output}.training"
    with output.progress() as progress:
        found = finetune_function()(
            args.input,
            args.data,
            args.val,
            training_from(args),
            preprocessing_from(args),
            teacher=args.distill,
            state=state,
            limit=args.limit,
            progress=progress,
        )
    with output.publishing() as files:
        if args.json is not None:
            write_json(found.course, args.json, files)
        if args.csv is not None:
            write_rows(_COLUMNS, _rows(found.course), args.csv, files)
        save_model(found.model, args.output, files=files)
    Path(state).unlink(missing_ok=True)
    _report(found.course, output)
    output.written(args.output)
    return 0


def _report(course: Course, output: Output) -> None:
    from upscale_onnx.report.rows import Table, facts_of

    output.tables([Table("training", "Training", _COLUMNS, _rows(course), facts_of(course, "before", "accuracy"))])


def _rows(course: Course) -> tuple[tuple[Cell, ...], ...]:
    return tuple(tuple(getattr(epoch, name) for name in _COLUMNS) for epoch in course.epochs)
