"""The options of commands that prune: how much, where, by what, and what makes up for it."""

from __future__ import annotations

import argparse
from typing import get_args

from upscale_onnx.cli.arguments import criterion_name, factor, fraction, given, loss, positive, ratio, weighted_pattern
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Method, PruneOptions, Repair, Schedule, Scope, Side
from upscale_onnx.options.text import flag_of
from upscale_onnx.pruning.criteria import CRITERIA

_GOALS = ("amount", "latency", "params", "macs", "compression", "profile")
# What a mask file leaves open.
_WITH_MASK = ("side", "max_loss")
_CHOICES = (
    "criterion",
    "masks",
    "method",
    "side",
    "scope",
    "ignore",
    "min_channels",
    "mask_align",
    "steps",
    "schedule",
    "max_loss",
)


def add_pruning(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is pruned before a compile."""
    _add_goals(parser.add_argument_group("pruning first").add_mutually_exclusive_group())
    _add_choice(parser.add_argument_group("what is pruned"))
    _add_layers(parser.add_argument_group("how much each layer loses"))


def check_pruning(args: argparse.Namespace) -> None:
    """Raises: ArgumentError where one of the options would have no effect."""
    choices, goals = given(args, *_CHOICES), given(args, *_GOALS)
    prunes = bool(goals or args.amounts)
    idle = [name for name in choices if not prunes and (args.mask is None or name not in _WITH_MASK)]
    if idle:
        raise ArgumentError(
            f"--{flag_of(idle[0])} has no effect without --amount: say how much to prune, or leave it out"
        )
    if args.calibration is not None and not prunes and args.mask is None and args.repair is None:
        raise ArgumentError("--calibration has no effect without --amount: say how much to prune, or leave it out")


def _add_goals(goals: argparse._MutuallyExclusiveGroup) -> None:
    goals.add_argument("--amount", type=fraction, metavar="A", help="fraction of the layers' channels to prune")
    goals.add_argument(
        "--latency",
        type=ratio,
        metavar="R",
        help="prune until the model takes R of its time, measured here, where that costs least",
    )
    goals.add_argument("--params", type=ratio, metavar="R", help="prune until R of the parameters are left")
    goals.add_argument("--macs", type=ratio, metavar="R", help="prune until R of the multiply-accumulates are left")
    goals.add_argument("--compression", type=factor, metavar="F", help="prune until 1/F of the parameters are left")
    goals.add_argument("--mask", metavar="FILE", help=".npz or .json: for each weight, one bool per channel to keep")


def _add_choice(group: argparse._ArgumentGroup) -> None:
    needing = [name for name, criterion in CRITERIA.items() if criterion.needs_data]
    labelled = [name for name, criterion in CRITERIA.items() if "labels" in criterion.needs]
    group.add_argument(
        "--criterion",
        type=criterion_name,
        metavar="NAME",
        help=f"what scores channels; the lowest are pruned: {', '.join(CRITERIA)} (default: {PruneOptions.criterion}); "
        "taylor takes settings: taylor:norm=l2, :flops=F (per million operations), :power=2 (see docs/criteria.md)",
    )
    group.add_argument(
        "--side",
        choices=get_args(Side),
        help=f"prune what layers read or what they create (default: {PruneOptions.side})",
    )
    group.add_argument(
        "--method",
        choices=get_args(Method),
        help="each layer chooses for itself, all that read the same channels agree, or group by group whichever loses "
        f"less at the same latency (default: {PruneOptions.method})",
    )
    group.add_argument(
        "--calibration",
        metavar="FILE",
        help=f".npz with inputs by name (or x), samples along the first axis: for {', '.join(needing)}, --repair, to "
        f"judge masks by, and to say what pruning did; labels (y or labels) are for {', '.join(labelled)}, and the "
        "accuracy before and after",
    )
    group.add_argument(
        "--repair",
        choices=get_args(Repair),
        help="without labels: match each channel's mean and variance, re-fit each layer by least squares, or then all "
        "layers together (minutes; needs PyTorch)",
    )
    group.add_argument(
        "--max-loss",
        type=loss,
        metavar="X",
        help="write nothing, and exit with 5, where pruning loses more: of top-1 accuracy, a share of 1 (0.01 is one "
        "point), where the calibration data has labels; else by how much outputs move, as a share of their size",
    )
    group.add_argument("--steps", type=positive, metavar="N", help="prune in N rounds, and score what is left anew")
    group.add_argument(
        "--schedule",
        choices=get_args(Schedule),
        help="what each round takes the same share of: what is left, or all (default: geometric)",
    )


def _add_layers(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--allocation",
        dest="masks",
        metavar="NAME",
        help="flat: the amount of each layer, whatever comes of it; filled: without channels that would stay in place "
        "anyway; aware: of all layers together, where it saves most time (default: aware where speed is preferred and "
        "nothing else says how much each layer loses, else filled)",
    )
    scope = group.add_mutually_exclusive_group()
    scope.add_argument(
        "--scope",
        choices=get_args(Scope),
        help="rank the channels of each layer, of all layers together, or of layers of the same structure "
        f"(default: {PruneOptions.scope})",
    )
    scope.add_argument("--global", dest="scope", action="store_const", const="global", help="same as --scope global")
    group.add_argument(
        "--layer-amount",
        dest="amounts",
        type=weighted_pattern,
        action="append",
        metavar="PATTERN=A",
        help="the amount of layers whose node or weight is called like PATTERN; may be repeated, the first match holds",
    )
    group.add_argument(
        "--profile",
        metavar="NAME|FILE",
        help="what each layer keeps, or all together that must agree: equal; increasing:SLOPE, which prunes SLOPE more "
        "of the last than of the first, or decreasing:SLOPE, both around --amount; random; or a .json file, such as "
        "--write-profile writes",
    )
    group.add_argument(
        "--ignore", action="append", metavar="PATTERN", help="prune no layer that is called like it; may be repeated"
    )
    group.add_argument("--min-channels", type=positive, metavar="N", help="leave every layer N channels")
    group.add_argument(
        "--kept-multiple", dest="mask_align", type=positive, metavar="N", help="round kept counts up to a multiple of N"
    )
