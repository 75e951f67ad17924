"""The table and the plot of the command `experiment`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from upscale_onnx.errors import ArgumentError
from upscale_onnx.experiments.bases import Base
from upscale_onnx.experiments.points import Rows
from upscale_onnx.experiments.summary import label, lines
from upscale_onnx.report.csv import write_rows
from upscale_onnx.report.experiment_plot import write_experiment
from upscale_onnx.report.rows import Table

_CLOUD = 20  # more draws than this are drawn as dots
_COLUMNS = ("draws", "compression", "accuracy", "deviation", "median", "best", "rank", "rank_at_aim")


def table_of(figure: str, rows: Rows, bases: Sequence[Base]) -> Table:
    """One row for each line of the figure; the facts are the accuracies of the base networks."""
    found = list(lines(rows))
    shown = [name for name in _COLUMNS if any(getattr(line, name) is not None for line in found)]
    cells = tuple(
        (f"{bases[line.network].name}: {line.label}", line.aim, *(getattr(line, name) for name in shown))
        for line in found
    )
    facts = tuple((f"unpruned.{base.name}", base.measure.baseline) for base in bases)
    return Table("experiment", figure, ("", "aim", *shown), cells, facts)


def write_summary(table: Table, path: Path) -> None:
    """Write the table as CSV."""
    write_rows(("line", *table.columns[1:]), table.rows, path)


def draw(path: Path, rows: Rows, bases: Sequence[Base]) -> str | None:
    """Draw the figure. Returns why that could not be done, if so."""
    if not any(found.is_met for found in rows.values()):
        return "no network has any of these compressions"
    bands: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    clouds: dict[str, dict[str, list[tuple[float, float]]]] = {}
    many = {(line.network, line.label) for line in lines(rows) if line.draws > _CLOUD}
    for line in lines(rows):
        if (line.network, line.label) not in many:
            own = bands.setdefault(bases[line.network].name, {})
            own.setdefault(line.label, []).append((line.compression, line.accuracy, line.deviation or 0.0))
    for point, found in rows.items():
        if found.is_met and (point.network, label(point)) in many:
            dots = clouds.setdefault(bases[point.network].name, {})
            dots.setdefault(label(point), []).append((found.compression, found.accuracy))
    try:
        write_experiment(clouds, bands, path)
    except ArgumentError as error:
        return str(error)
    return None
