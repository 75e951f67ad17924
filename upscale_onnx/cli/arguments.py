"""Shared parts of the commands' parsers: how they report errors, options of several commands, types of values."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, get_args

import upscale_onnx
from upscale_onnx.cli.parser import Listed
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Proof, ProofOptions, Provider, PruneOptions, TargetOptions
from upscale_onnx.options.ranges import (
    FACTOR,
    FRACTION,
    LOSS,
    NATURAL,
    PORTION,
    POSITIVE,
    POSITIVE_NUMBER,
    SHARE,
    Range,
)
from upscale_onnx.pruning.criteria import criterion_of

Group: TypeAlias = argparse.ArgumentParser | argparse._ArgumentGroup
T = TypeVar("T", int, float)

PROGRESS = ("auto", "json", "none")
LEVELS = ("debug", "info", "warning", "error")


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has."""
    parser.add_argument(
        "--config", metavar="FILE", help="read options from a TOML file; the command line has the last word"
    )
    parser.add_argument("--print-config", action="store_true", help="print the options as such a file, and end")
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    volume.add_argument("-v", "--verbose", action="store_true", help="print more, and the traceback of a bug")
    parser.add_argument(
        "--progress",
        choices=PROGRESS,
        default="auto",
        help="how progress is told on standard error: a bar on a terminal, a line of JSON per stage, or not at all "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        default="warning",
        help="the least severe messages of Python's logging that are shown (default: %(default)s)",
    )
    parser.add_argument("--version", action="version", version=f"upscale_onnx {upscale_onnx.__version__}")


def add_session(parser: Group) -> None:
    """Add the options of commands that run models."""
    parser.add_argument(
        "--provider",
        choices=get_args(Provider),
        default=TargetOptions.provider,
        help="where to run: auto is cuda where it is available (default: %(default)s)",
    )
    add_option(parser, "--seed", natural, "N", PruneOptions.seed, "seed of everything random")


def add_threads(parser: Group, what: str = "threads") -> None:
    """Add the option of commands that run models on a number of threads."""
    add_option(parser, "--threads", positive, "N", TargetOptions.threads, what)


def add_layers(parser: Group, what: str) -> None:
    """Add the option that names some layers."""
    told = f"{what}; may be given again (default: all)"
    parser.add_argument("--layer", dest="layers", action="append", default=[], metavar="GLOB", help=told)


def add_option(
    parser: Group, flag: str, kind: Callable[[str], object], metavar: str, default: object, what: str
) -> None:
    """Add an option whose help ends with its default."""
    parser.add_argument(flag, type=kind, default=default, metavar=metavar, help=f"{what} (default: %(default)s)")


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the arguments called `names` that are given, by name. Lists become tuples."""
    values = {name: getattr(args, name) for name in names}
    return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items() if v is not None}


def session_from(args: argparse.Namespace) -> dict[str, Any]:
    """The provider, threads and seed that `args` give, by name."""
    from upscale_onnx.runtime.providers import resolve_provider

    return {"provider": resolve_provider(args.provider), "threads": args.threads, "seed": args.seed}


def thread_warning(args: argparse.Namespace) -> str:
    """A warning if more threads are asked for than can run at once, else an empty string."""
    given = getattr(args, "threads", 1)
    most = max(given) if isinstance(given, tuple) else given
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or most
    return f"--threads {most}: this machine runs {cores} at once, the others have to wait" if most > cores else ""


def add_report(parser: Group) -> None:
    """Add the option of commands that write a page."""
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="also write a page with tables and pictures (.html; needs Jinja2 and matplotlib)",
    )


def add_proofs(parser: Group) -> None:
    """Add the option of commands that prove that two models are equal."""
    parser.add_argument(
        "--proof",
        dest="proofs",
        type=proofs,
        action=Listed,
        default=ProofOptions.proofs,
        metavar="local,global",
        help="how to prove it: local compares region by region, each on inputs of its own, so it sees every channel; "
        "global compares whole models on random inputs (default: both)",
    )


def proofs(text: str) -> tuple[Proof, ...]:
    """Names of proofs, separated by commas."""
    chosen = tuple(kind for kind in get_args(Proof) if kind in text.split(","))
    if not chosen or set(text.split(",")) - set(chosen):
        raise argparse.ArgumentTypeError(f"{text!r} is not local, global or local,global")
    return chosen


def criterion_name(text: str) -> str:
    """The name of a criterion, with or without settings."""
    try:
        criterion_of(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def within(limit: Range, kind: Callable[[str], T]) -> Callable[[str], T]:
    """A type for arguments: the number that `kind` makes of a text, if it is in `limit`."""

    def number(text: str) -> T:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not limit.accepts(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {limit.wanted}")
        return value

    return number


natural = within(NATURAL, int)  # an integer of at least 0
positive = within(POSITIVE, int)  # an integer of at least 1
fraction = within(FRACTION, float)  # a number from 0 to below 1
ratio = within(SHARE, float)  # a number above 0 and below 1
portion = within(PORTION, float)  # a number from 0 to 1
factor = within(FACTOR, float)  # a finite number above 1
loss = within(LOSS, float)  # a finite number of at least 0
positive_number = within(POSITIVE_NUMBER, float)  # a finite number above 0


def weighted_pattern(text: str) -> tuple[str, float]:
    """A pattern of names and a fraction, from PATTERN=A."""
    pattern, equals, amount = text.rpartition("=")
    if not equals or not pattern:
        raise argparse.ArgumentTypeError(f"{text!r} is not PATTERN=A, as in '*.conv1.*=0.5'")
    return pattern, fraction(amount)


def named_size(text: str) -> tuple[str, int]:
    """The name of a dimension and its size, from NAME=SIZE."""
    name, equals, size = text.rpartition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=SIZE")
    return name, positive(size)
