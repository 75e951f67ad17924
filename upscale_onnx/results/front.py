"""The outcome of a search, for reports: what trials lose against what they save, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from upscale_onnx.results.origin import Origin
from upscale_onnx.results.shown import Shown

Point = tuple[float, float]


@dataclass(frozen=True)
class Front(Shown):
    """What a search found.

    quality, cost: names of what is good and of what is saved. trials, stopped: how many there were, and how many of
    them were stopped early.
    groups: points (cost, quality) of all trials, by source. front: those of the best.
    columns, rows: a table of the best trials. commands: a command line that makes each of the best.
    profiles: the share of its channels that each weight keeps, by the name of the profile in the table.

    >>> from upscale_onnx import Front
    >>> table = ("profile", "accuracy", "params"), (("003", 0.95, 0.4), ("unpruned", 0.97, 1.0))
    >>> groups = {"tpe": ((0.4, 0.95),), "unpruned": ((1.0, 0.97),)}
    >>> profiles = {"003": {"w": 0.5}}
    >>> print(Front("accuracy", "params", 1, 0, groups, ((0.4, 0.95),), *table, commands=(), profiles=profiles))
    1 of 1 profiles are on the front of accuracy and params
    profile   accuracy  params
    003           0.95     0.4
    unpruned      0.97       1
    """

    quality: str
    cost: str
    trials: int
    stopped: int
    groups: Mapping[str, tuple[Point, ...]]
    front: tuple[Point, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | bool | None, ...], ...]
    commands: tuple[str, ...]
    profiles: Mapping[str, Mapping[str, float]]
    origin: Origin | None = None
