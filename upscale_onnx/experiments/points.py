"""The points of a figure: which network is pruned how, and what came of it."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import get_type_hints

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.appending import mend
from upscale_onnx.files.publish import write_errors, write_whole


@dataclass(frozen=True)
class Point:
    """A pruned network.

    network: the number of the base network. family: where the profile comes from. compression: the factor that is
    aimed at. number: of the draw. choice: how channels are chosen, "scores" by `criterion`. init: where fine-tuning
    begins, "pretrained" or "random".
    """

    network: int
    family: str
    compression: float
    number: int
    choice: str
    criterion: str
    init: str = "pretrained"


@dataclass(frozen=True)
class Outcome:
    """What came of a point. compression: as it is; 0 where the aim cannot be met. accuracy: top-1, 0 to 1. shares: what
    each decision keeps; asked: of the profile that these were made of."""

    compression: float
    accuracy: float
    shares: tuple[float, ...]
    asked: tuple[float, ...]

    @property
    def is_met(self) -> bool:
        """Whether there is such a network."""
        return self.compression > 0


Rows = Mapping[Point, Outcome]

_KEY = tuple(field.name for field in fields(Point))
_COLUMNS = (*_KEY, "reached", "accuracy", "shares", "asked")
_TYPES: Mapping[str, Callable[[str], object]] = get_type_hints(Point)


class Sheet:
    """The outcomes of points, kept in a CSV file. rows: all of them so far."""

    def __init__(self, path: Path) -> None:
        """Raises: ArgumentError where the file is of another kind."""
        self._path = path
        self.rows: dict[Point, Outcome] = {}
        if not path.exists():
            return
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]  # a process that was killed may leave a part of a line
        lines = list(csv.reader(io.StringIO(whole)))
        if not lines or tuple(lines[0]) != _COLUMNS:
            raise ArgumentError(f"{path}: has other columns than results of an experiment: choose another folder")
        self.rows = dict(map(_read, lines[1:]))

    def add(self, point: Point, outcome: Outcome) -> None:
        """Add an outcome, or replace that of the same point, in the file, too."""
        is_new = point not in self.rows
        self.rows[point] = outcome
        if not is_new or not self._path.exists():
            self._write()
            return
        with write_errors(self._path), self._path.open("a+b") as file:
            mend(file)
            file.write(_text([_written(point, outcome)]))

    def forget(self, points: Iterable[Point]) -> None:
        """Leave points out, in the file, too."""
        before = len(self.rows)
        for point in points:
            del self.rows[point]
        if len(self.rows) < before:
            self._write()

    def _write(self) -> None:
        write_whole(_text([_COLUMNS, *itertools.starmap(_written, self.rows.items())]), self._path)


def _text(lines: Iterable[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def _written(point: Point, found: Outcome) -> tuple[object, ...]:
    # In full: a search that goes on from the file must count channels as one does that was not stopped.
    shares = (" ".join(map(repr, every)) for every in (found.shares, found.asked))
    return *astuple(point), found.compression, found.accuracy, *shares


def _read(line: list[str]) -> tuple[Point, Outcome]:
    key, (reached, accuracy, *shares) = line[: len(_KEY)], line[len(_KEY) :]
    values = {name: _TYPES[name](text) for name, text in zip(_KEY, key, strict=True)}
    kept, asked = (tuple(map(float, text.split())) for text in shares)
    return Point(**values), Outcome(float(reached), float(accuracy), kept, asked)  # type: ignore[arg-type]
