"""The command that trains a model from its ONNX file."""

from __future__ import annotations

import argparse
from dataclasses import fields
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
    portion,
    positive,
    positive_number,
)
from upscale_onnx.cli.evaluate import add_preprocessing, preprocessing_from
from upscale_onnx.cli.output import Output
from upscale_onnx.files.publish import NewFiles
from upscale_onnx.training.settings import (
    Augmentation,
    Initial,
    Kept,
    Norms,
    Optimizer,
    Precision,
    RateSchedule,
    Training,
    Where,
)

if TYPE_CHECKING:
    from upscale_onnx.results.training import Course

SUMMARY = "train a model on labelled data; masked channels stay masked"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("input", metavar="in.onnx", help="the model to train, a classifier")
    parser.add_argument("output", metavar="out.onnx", help="where to write the trained model")
    add_data(parser)
    training = parser.add_argument_group("training")
    add_training(training)
    _choice(training, "--init", Initial, Training.init, "the model's weights, or random ones (He et al. 2015)")
    add_reports(parser)


def add_data(parser: Group) -> None:
    """Add the options that name labelled data."""
    parser.add_argument("--data", metavar="TRAIN", required=True, help="labelled data to train on, as for evaluate")
    parser.add_argument("--val", metavar="VAL", help="labelled data to judge each epoch on")
    parser.add_argument("--limit", type=positive, metavar="N", help="judge on N images, held in memory (default: all)")
    parser.add_argument("--distill", metavar="TEACHER", help="learn the scores of this model, too")
    parser.add_argument(
        "--state",
        metavar="FILE",
        help="state after each epoch, from which the same command goes on; it is removed at the end (default: "
        "out.onnx.training)",
    )


def add_training(parser: Group) -> None:
    """Add one option for each setting of a training, without --init."""
    usual = Training()
    add_option(parser, "--epochs", positive, "N", usual.epochs, "passes over the data")
    add_option(parser, "--batch", positive, "N", usual.batch, "samples of a step, if the model does not fix it")
    _choice(parser, "--optimizer", Optimizer, usual.optimizer, "sgd has Nesterov momentum")
    add_option(parser, "--momentum", fraction, "M", usual.momentum, "of sgd")
    parser.add_argument("--no-nesterov", dest="nesterov", action="store_false", help="plain momentum for sgd")
    add_option(parser, "--rate", positive_number, "R", usual.rate, "highest learning rate")
    _choice(parser, "--rate-schedule", RateSchedule, usual.schedule, "of the learning rate")
    add_option(parser, "--weight-decay", loss, "D", usual.weight_decay, "weight decay")
    add_option(parser, "--l1", loss, "F", usual.l1, "L1 regularisation of weights")
    add_option(parser, "--label-smoothing", fraction, "S", usual.label_smoothing, "label smoothing")
    _choice(parser, "--augment", Augmentation, usual.augment, "mirror images, shift them, or both, at random")
    _choice(parser, "--norms", Norms, usual.norms, "BatchNormalization; unfold: also where it was folded in")
    _choice(parser, "--precision", Precision, usual.precision, "of convolutions and products")
    _choice(parser, "--keep", Kept, usual.keep, "the epoch whose weights are written, by accuracy on --val")
    add_option(parser, "--temperature", positive_number, "T", usual.temperature, "that softens a teacher's scores")
    add_option(
        parser, "--distill-weight", portion, "W", usual.distill_weight, "what a teacher counts; labels count 1 - W"
    )
    add_option(parser, "--seed", natural, "N", usual.seed, "seed of everything random")
    add_threads(parser)
    _choice(parser, "--device", Where, usual.device, "where PyTorch computes; auto: on a GPU if PyTorch has one")


def add_reports(parser: argparse.ArgumentParser) -> None:
    """Add the options of images and reports."""
    add_preprocessing(parser.add_argument_group("from images to inputs"))
    reports = parser.add_argument_group("what to write")
    reports.add_argument("--json", metavar="FILE", help="the epochs as JSON")
    reports.add_argument("--csv", metavar="FILE", help="the epochs as CSV")
    add_common(parser)


def training_from(args: argparse.Namespace) -> Training:
    """The settings of the training, from `args`."""
    names = {part.name for part in fields(Training)} - {"schedule"}
    return Training(schedule=args.rate_schedule, **{name: value for name, value in vars(args).items() if name in names})


def state_from(args: argparse.Namespace) -> str:
    """The file that keeps the state of the training."""
    return str(args.state or f"{args.output}.training")


def run(args: argparse.Namespace, output: Output) -> int:
    """Train, write, report. Returns the exit code."""
    from upscale_onnx.model import save_model
    from upscale_onnx.report.training_rows import course_table
    from upscale_onnx.training.finetune import finetune

    state = state_from(args)
    with output.progress() as progress:
        found = finetune(
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
        write_reports(found.course, args, output, files)
        save_model(found.model, args.output, files=files)
    Path(state).unlink(missing_ok=True)
    output.tables([course_table(found.course)])
    output.written(args.output)
    return 0


def write_reports(course: Course, args: argparse.Namespace, output: Output, files: NewFiles) -> None:
    """Write the reports that were asked for, together with `files`."""
    from upscale_onnx.report.csv import write_rows
    from upscale_onnx.report.training_rows import EPOCH_COLUMNS, course_table

    output.write_json(course, args.json, files)
    if args.csv is not None:
        write_rows(EPOCH_COLUMNS, course_table(course).rows, args.csv, files)


def _choice(parser: Group, flag: str, words: object, usual: str, what: str) -> None:
    parser.add_argument(flag, choices=get_args(words), default=usual, help=f"{what} (default: %(default)s)")
