"""The outcome of a search as a value for reports: the points of all trials, and a table of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from upscale_onnx.results import Front
from upscale_onnx.searching.engine import Search
from upscale_onnx.searching.goals import QUALITY
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.outcome import Ending, Finalist, Outcome

SIZES = ("latency", "params", "macs", "compression")
_SHOWN = 20
_Cell = str | int | float | bool | None


def front_of(ending: Ending, found: Outcome, commands: Sequence[str]) -> Front:
    """The outcome as a value. commands: those that make the models of the front."""
    search = ending.search
    quality, cost = quality_of(search), search.goals.cost

    def point(measured: Measured) -> tuple[float, float]:
        return measured.value(cost), measured.value(quality)

    groups: dict[str, list[tuple[float, float]]] = {}
    for trial in found.trials:
        if trial.measured is not None:
            source = trial.proposal.source.partition(" ")[0] if trial.measured.is_complete else "stopped"
            groups.setdefault(source, []).append(point(trial.measured))
    groups["unpruned"] = [point(found.unpruned.measured)]
    columns, rows = _table(found, quality)
    return Front(
        quality=quality,
        cost=cost,
        trials=len(found.trials),
        stopped=len(groups.get("stopped", ())),
        groups={name: tuple(points) for name, points in groups.items()},
        front=tuple(point(one.measured) for one in found.front),
        columns=columns,
        rows=rows,
        commands=tuple(commands),
        profiles={one.name: _profile(ending, one) for one in found.front},
    )


def quality_of(search: Search) -> str:
    """The name of what is good about a profile in this search."""
    return QUALITY[0] if search.problem.has_labels else QUALITY[1]


def values_of(measured: Measured, names: Sequence[str]) -> tuple[_Cell, ...]:
    """The fields of `measured` called `names`."""
    return tuple(getattr(measured, name) for name in names)


def _profile(ending: Ending, one: Finalist) -> Mapping[str, float]:
    """The share that each weight keeps under a profile of the front, on the first network."""
    space = ending.search.problem.subjects[0].space
    kept = space.kept(ending.candidates(one)[0].masks)
    return {weight: decision.keep_ratio for decision in kept for weight in decision.weights}


def _table(found: Outcome, quality: str) -> tuple[tuple[str, ...], tuple[tuple[_Cell, ...], ...]]:
    """Columns and rows: the front, the best profiles by rule, and the unpruned model. Empty columns are left out."""
    columns = ["profile", "source", quality, "judged", *SIZES, "raced"]
    named = {one.name for one in found.front}
    shown = [*found.front[:_SHOWN], *(one for one in found.rules if one.name not in named), found.unpruned]
    rows = [
        (one.name, one.source, getattr(one.measured, quality), one.judged, *values_of(one.measured, SIZES), one.raced)
        for one in shown
    ]
    kept = [place for place in range(len(columns)) if place < 2 or any(row[place] is not None for row in rows)]
    return tuple(columns[place] for place in kept), tuple(tuple(row[place] for place in kept) for row in rows)
