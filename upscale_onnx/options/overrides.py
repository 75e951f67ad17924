"""The options by name, as keyword arguments, for type checkers. A test checks that the groups have the same options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from upscale_onnx.options.groups import Export, Method, Prefer, Proof, Provider, Repair, Schedule, Scope, Side
from upscale_onnx.options.values import DataOption, ProfileOption


class Overrides(TypedDict, total=False):
    """The options as keyword arguments. The groups of `Options` say what each means."""

    export: Export
    prefer: Prefer
    align: int | None
    race: bool
    verify: bool
    inputs: DataOption | None
    provider: Provider
    amount: float | None
    criterion: str | Callable[..., Any]
    side: Side
    method: Method
    latency: float | None
    masks: str
    mask: str | None
    calibration: DataOption | None
    repair: Repair | None
    seed: int
    threads: int
    batch: int | None
    target: str | None
    tune: float
    scope: Scope
    amounts: tuple[tuple[str, float], ...]
    profile: ProfileOption | None
    ignore: tuple[str, ...]
    min_channels: int
    mask_align: int
    params: float | None
    macs: float | None
    compression: float | None
    steps: int
    schedule: Schedule
    fail_if_unchanged: bool
    metadata: bool
    proofs: tuple[Proof, ...]
    save_reproducer: str | None
    max_loss: float | None
