"""The options by their names, as keyword arguments, for type checkers: a test holds that the groups have the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from upscale_onnx.options.groups import Export, Masks, Method, Prefer, Proof, Provider, Repair, Schedule, Scope, Side


class Overrides(TypedDict, total=False):
    """What `compile` takes beside its options; see the groups of `Options` for what each means."""

    export: Export
    prefer: Prefer
    align: int | None
    race: bool
    verify: bool
    inputs: str | None
    provider: Provider
    amount: float | None
    criterion: str | Callable[..., Any]
    side: Side
    method: Method
    latency: float | None
    masks: Masks
    mask: str | None
    calibration: str | None
    repair: Repair | None
    seed: int
    threads: int
    batch: int | None
    target: str | None
    tune: float
    scope: Scope
    amounts: tuple[tuple[str, float], ...]
    profile: str | None
    ignore: tuple[str, ...]
    min_channels: int
    mask_align: int
    params: float | None
    macs: float | None
    compression: float | None
    steps: int
    schedule: Schedule
    fail_if_unchanged: bool
    proofs: tuple[Proof, ...]
    save_reproducer: str | None
    max_loss: float | None
