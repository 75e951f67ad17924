"""What the command `search` writes to its folder, and the tables that it prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from upscale_onnx.cli.output import Output
from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import NewFiles
from upscale_onnx.report.csv import write_rows
from upscale_onnx.report.front_plot import write_front
from upscale_onnx.report.page.write import write_page
from upscale_onnx.report.rows import Cell, Table
from upscale_onnx.results import Front, Origin
from upscale_onnx.searching.commands import write_profiles
from upscale_onnx.searching.front import SIZES, front_of, quality_of, values_of
from upscale_onnx.searching.outcome import Ending, Finalist, Outcome

if TYPE_CHECKING:
    from upscale_onnx.searching.engine import Search


def report(ending: Ending, found: Outcome, models: Sequence[str], output: Output, origin: Origin) -> int:
    """Write the files of the folder, and print the best profiles. Returns the exit code."""
    search = ending.search
    with output.publishing() as files:
        lines = write_profiles(ending, found.front, models, files)
        front = replace(front_of(ending, found, lines), origin=origin)
        _write(search, found, files)
        note = _pictures(search, front, files)
    table = _table(front)
    if note is not None:
        table = replace(table, facts=(*table.facts, ("note", f"front.png and report.html are not made: {note}")))
    output.tables([table])
    output.written(str(search.folder))
    return 0


def _write(search: Search, found: Outcome, files: NewFiles) -> None:
    quality, shares = quality_of(search), [f"share{number:03d}" for number in range(search.problem.decisions)]
    best = {one.name for one in found.front}
    columns = ("trial", "source", "state", quality, "images", *SIZES, "feasible", "front", "seconds", *shares)
    rows = [
        (
            trial.number,
            trial.proposal.source,
            "complete" if trial.measured.is_complete else "stopped",
            *values_of(trial.measured, (quality, "images", *SIZES)),
            search.goals.holds(trial.measured),
            f"{trial.number:03d}" in best,
            trial.seconds,
            *trial.proposal.shares,
        )
        for trial in found.trials
        if trial.measured is not None
    ]
    write_rows(columns, rows, search.folder / "results.csv", files)
    known = ("front", quality, "judged", "images", *SIZES, "raced", *shares)
    ends = [
        (one.name, one.source, one.name in best, *_finalist(one, quality), *one.measured.kept)
        for one in {one.name: one for one in (*found.front, *found.rules, found.unpruned)}.values()
    ]
    write_rows(("trial", "source", *known), ends, search.folder / "front.csv", files)


def _finalist(one: Finalist, quality: str) -> tuple[Cell, ...]:
    return (
        *values_of(one.measured, (quality,)), one.judged, *values_of(one.measured, ("images", *SIZES)), one.raced,
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


def _table(front: Front) -> Table:
    """The front, the best profiles by rule, and the unpruned model."""
    facts: list[tuple[str, Cell]] = [("trials", front.trials), ("stopped", front.stopped), ("front", len(front.front))]
    if not front.front:
        facts.append(("note", "no profile meets the constraints: try more trials, or weaker constraints"))
    return Table("search", "Search", front.columns, front.rows, tuple(facts))
