"""What the command `search` writes to its folder, and the tables that it prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from upscale_onnx.cli.output import Output
from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import NewFiles, write_whole
from upscale_onnx.report.csv import write_rows
from upscale_onnx.report.front_plot import write_front
from upscale_onnx.report.page.write import write_page
from upscale_onnx.report.rows import Cell, Table
from upscale_onnx.results import Front, Origin
from upscale_onnx.searching.commands import write_profiles
from upscale_onnx.searching.goals import QUALITY
from upscale_onnx.searching.locking import exclusive
from upscale_onnx.searching.outcome import Ending, Finalist, Outcome

if TYPE_CHECKING:
    from upscale_onnx.measures.measure import Distance, Top1
    from upscale_onnx.searching.engine import Search
    from upscale_onnx.searching.measured import Measured
    from upscale_onnx.searching.study import Study
    from upscale_onnx.types import Progress

_SIZES = ("latency", "params", "macs", "compression")
_SHOWN = 20


def report(
    search: Search,
    study: Study,
    judges: Sequence[Top1 | Distance],
    models: Sequence[str],
    output: Output,
    progress: Progress,
    origin: Origin,
) -> int:
    """Judge the best profiles, write the files of the folder, and print them. Returns the exit code."""
    with exclusive(search.folder / "results.lock"):
        ending = Ending(search, study, judges, progress)
        found = ending.outcome()
        table = _table(search, found)
        with output.publishing() as files:
            lines = write_profiles(ending, found.front, models, files)
            _write(search, found, lines, files)
            note = _pictures(search, _front(search, found, table, lines, origin), files)
    if note is not None:
        table = replace(table, facts=(*table.facts, ("note", f"front.png and report.html are not made: {note}")))
    output.tables([table])
    output.written(str(search.folder))
    return 0


def _write(search: Search, found: Outcome, lines: Sequence[str], files: NewFiles) -> None:
    quality, shares = _quality(search), [f"share{number:03d}" for number in range(search.problem.decisions)]
    best = {one.name for one in found.front}
    columns = ("trial", "source", "state", quality, "images", *_SIZES, "feasible", "front", "seconds", *shares)
    rows = [
        (
            trial.number,
            trial.proposal.source,
            "complete" if trial.measured.is_complete else "stopped",
            *_cells(trial.measured, (quality, "images", *_SIZES)),
            search.goals.holds(trial.measured),
            f"{trial.number:03d}" in best,
            trial.seconds,
            *trial.proposal.shares,
        )
        for trial in found.trials
        if trial.measured is not None
    ]
    write_rows(columns, rows, search.folder / "results.csv", files)
    known = ("front", quality, "judged", "images", *_SIZES, "raced", *shares)
    ends = [
        (one.name, one.source, one.name in best, *_finalist(one, quality), *one.measured.kept)
        for one in {one.name: one for one in (*found.front, *found.rules, found.unpruned)}.values()
    ]
    write_rows(("trial", "source", *known), ends, search.folder / "front.csv", files)
    write_whole("".join(f"{line}\n" for line in lines).encode(), search.folder / "commands.txt", files)


def _finalist(one: Finalist, quality: str) -> tuple[Cell, ...]:
    return (
        *_cells(one.measured, (quality,)), one.judged, *_cells(one.measured, ("images", *_SIZES)), one.raced,
    )  # fmt: skip


def _pictures(search: Search, front: Front, files: NewFiles) -> str | None:
    """Draw the front, alone and in a page. Returns why that could not be done, if so."""
    labels = (f"{front.cost}, share of the unpruned model", front.quality)
    try:
        write_front(front.groups, front.front, labels, search.folder / "front.png", files)
        write_page(front, search.folder / "report.html", files)
    except ArgumentError as error:
        return str(error)
    return None


def _front(search: Search, found: Outcome, table: Table, commands: Sequence[str], origin: Origin) -> Front:
    quality, cost = _quality(search), search.goals.cost

    def point(measured: Measured) -> tuple[float, float]:
        return measured.value(cost), measured.value(quality)

    groups: dict[str, list[tuple[float, float]]] = {}
    for trial in found.trials:
        if trial.measured is not None:
            source = trial.proposal.source.partition(" ")[0] if trial.measured.is_complete else "stopped"
            groups.setdefault(source, []).append(point(trial.measured))
    groups["unpruned"] = [point(found.unpruned.measured)]
    return Front(
        quality=quality,
        cost=cost,
        trials=len(found.trials),
        stopped=len(groups.get("stopped", ())),
        groups={name: tuple(points) for name, points in groups.items()},
        front=tuple(point(one.measured) for one in found.front),
        columns=table.columns,
        rows=table.rows,
        commands=tuple(commands),
        origin=origin,
    )


def _table(search: Search, found: Outcome) -> Table:
    """The front, the best profiles by rule, and the unpruned model."""
    quality = _quality(search)
    columns = ["profile", "source", quality, "judged", *_SIZES, "raced"]
    named = {one.name for one in found.front}
    shown = [*found.front[:_SHOWN], *(one for one in found.rules if one.name not in named), found.unpruned]
    rows = [
        (one.name, one.source, *_cells(one.measured, (quality,)), one.judged, *_cells(one.measured, _SIZES), one.raced)
        for one in shown
    ]
    empty = [place for place in range(2, len(columns)) if all(row[place] is None for row in rows)]
    kept = [place for place in range(len(columns)) if place not in empty]
    stopped = sum(1 for trial in found.trials if trial.measured is not None and not trial.measured.is_complete)
    facts: list[tuple[str, Cell]] = [("trials", len(found.trials)), ("stopped", stopped), ("front", len(found.front))]
    if not found.front:
        facts.append(("note", "no profile meets the constraints: try more trials, or weaker constraints"))
    cells = tuple(tuple(row[place] for place in kept) for row in rows)
    return Table("search", "Search", tuple(columns[place] for place in kept), cells, tuple(facts))


def _cells(measured: Measured, names: Sequence[str]) -> tuple[Cell, ...]:
    return tuple(getattr(measured, name) for name in names)


def _quality(search: Search) -> str:
    return QUALITY[0] if search.problem.has_labels else QUALITY[1]
