"""The table of results as a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.locks import alone_in
from upscale_onnx.files.publish import write_whole
from upscale_onnx.paper.rows import Row, Setting, cleaned, from_csv, merged, to_csv


class Book:
    """The table of results in a file. It is written row by row, so that an interrupt loses no finished row. Several
    processes may add rows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> tuple[Row, ...]:
        """The rows so far.

        Raises: ArgumentError if the file cannot be read or is no such table.
        """
        try:
            return from_csv(self.path.read_text(encoding="utf-8"), str(self.path))
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise ArgumentError(f"{self.path}: cannot be read: {' '.join(str(error).split())}") from error

    def add(self, row: Row) -> None:
        """Add `row`, or replace an older row of the same trial by it."""
        with alone_in(self.path.parent, waits=True):
            self._write(merged(self.rows(), row))

    def clean(self, setting: Setting) -> None:
        """Leave out rows that `cleaned` leaves out."""
        with alone_in(self.path.parent, waits=True):
            self._write(cleaned(self.rows(), setting))

    def _write(self, rows: Iterable[Row]) -> None:
        write_whole(to_csv(rows).encode(), self.path)
