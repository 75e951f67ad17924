"""Which options a function takes as keywords, and the options of one call of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.options.checking import check_options
from upscale_onnx.options.groups import Export, Method, Prefer, Proof, Provider, Repair, Side
from upscale_onnx.options.options import Options
from upscale_onnx.options.values import DataOption


class Running(TypedDict, total=False):
    """Where models are run, and the seed of everything random."""

    provider: Provider
    seed: int


class Threaded(Running, total=False):
    """On how many threads they are run."""

    threads: int


class Verifying(Running, total=False):
    """How two models are compared."""

    proofs: tuple[Proof, ...]
    inputs: DataOption | None


class Racing(Threaded, total=False):
    """How models are timed."""

    batch: int | None


class Calibrating(Racing, total=False):
    """What operators are timed for."""

    target: str | None


class Scanning(Threaded, total=False):
    """By what the channels of single layers are chosen."""

    criterion: str | Callable[..., Any]
    side: Side
    calibration: DataOption | None


class Sharing(Calibrating, Scanning, total=False):
    """How the channels of a model are chosen under a profile, which says how many each layer keeps."""

    method: Method
    repair: Repair | None
    ignore: tuple[str, ...]
    min_channels: int


class Compiling(Calibrating, Verifying, total=False):
    """How a model is compiled that is pruned already."""

    export: Export
    prefer: Prefer
    align: int | None
    fail_if_unchanged: bool
    race: bool
    tune: float
    verify: bool
    save_reproducer: str | None


def options_of(taken: type, options: Options | None, given: Mapping[str, Any]) -> Options:
    """The options of a call: `options`, or the defaults, with the keywords `given`. taken: one of the classes above.

    Raises: ArgumentError where a keyword is none that is taken, or the value of an option cannot be used.
    """
    names = sorted(taken.__annotations__)
    for name in given:
        if name not in names:
            raise ArgumentError(f"{name!r} is no option here: use {', '.join(names)}{did_you_mean(name, names)}")
    chosen = (options or Options()).replaced(**given)
    check_options(chosen)
    return chosen
