"""Tables and races as CSV, with unrounded numbers."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import fields

from upscale_onnx.files.publish import NewFiles, write_whole
from upscale_onnx.results import Race, Timing

# The settings of a race, and what is known of each runner beside its name, in one number.
_NUMBERS = [field.name for field in fields(Timing) if field.name not in ("name", "round_ms")]
COLUMNS = ("runner", "batch", "threads", "provider", "rounds", *_NUMBERS)


def races_csv(races: Iterable[Race]) -> str:
    """CSV text: a heading, then one line per runner of each race. Unknown values are empty."""
    known = ({**vars(race), **vars(timing), "runner": timing.name} for race in races for timing in race.timings)
    return rows_csv(COLUMNS, ([values[column] for column in COLUMNS] for values in known))


def rows_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV text: `columns`, then one line per row. None becomes empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return stream.getvalue()


def write_csv(races: Iterable[Race], path: str | os.PathLike[str], files: NewFiles | None = None) -> None:
    """Write `races_csv(races)` to `path`, now or together with `files`.

    Raises: ArgumentError if the file cannot be written.
    """
    write_whole(races_csv(races).encode(), path, files)


def write_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    path: str | os.PathLike[str],
    files: NewFiles | None = None,
) -> None:
    """Write `rows_csv(columns, rows)` to `path`, now or together with `files`.

    Raises: ArgumentError if the file cannot be written.
    """
    write_whole(rows_csv(columns, rows).encode(), path, files)
