"""Rows of results.csv: what was tried on which model, and what came of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, TypeAlias, get_type_hints

from upscale_onnx.errors import ArgumentError

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True)
class Setting:
    """What all trials of a run have in common.

    model, data, calibration: names of files, "" for none. checksum: of the model's content. setup: of the content
    of the other files and of how images become inputs. repair: "" for none.
    """

    model: str
    checksum: str
    data: str
    calibration: str
    repair: str
    seed: int
    provider: str
    threads: int
    setup: str


@dataclass(frozen=True)
class Row(Setting):
    """A trial and its outcome; None is what was not asked for.

    channels: pruned ones. parameters, macs: of the export that is asked for, of the paper's where that is the fastest,
    whether models are timed or not. export: of the model that is timed, if one is. top1, top5: shares of
    `images`. distance: of the outputs from those of the unpruned model, relative to these. latency_ms,
    baseline_ms, unpruned_ms: medians of the compiled model, of the same masks exported by gathering, and of the
    model as it was, measured in turns. ratio: latency over baseline, with its 95 % interval.
    """

    side: str
    method: str
    criterion: str
    scope: str
    amount: float
    channels: int | None = None
    parameters: int | None = None
    macs: int | None = None
    export: str | None = None
    unpruned_top1: float | None = None
    top1: float | None = None
    top5: float | None = None
    images: int | None = None
    distance: float | None = None
    unpruned_ms: float | None = None
    baseline_ms: float | None = None
    latency_ms: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None

    @property
    def key(self) -> Key:
        """All that was asked for: rows of the same key are of the same trial."""
        return astuple(self)[: COLUMNS.index("channels")]

    @property
    def has_accuracy(self) -> bool:
        """Whether accuracy, or the distance of outputs in its place, is there."""
        return self.top1 is not None or self.distance is not None

    @property
    def has_latency(self) -> bool:
        """Whether it was timed."""
        return self.latency_ms is not None


COLUMNS = tuple(field.name for field in fields(Row))
_SETTING = tuple(field.name for field in fields(Setting))


def is_of(row: Row, setting: Setting) -> bool:
    """Whether `row` was measured in this setting."""
    return all(getattr(row, name) == getattr(setting, name) for name in _SETTING)


def merged(rows: Iterable[Row], fresh: Row) -> tuple[Row, ...]:
    """`rows` with `fresh` in place of the row of the same key, or at the end. What `fresh` lacks is kept."""
    found = {row.key: row for row in rows}
    old = found.get(fresh.key)
    if old is not None:
        known = {name: value for name, value in vars(fresh).items() if value is not None}
        fresh = replace(old, **known)
    found[fresh.key] = fresh
    return tuple(found.values())


def to_csv(rows: Iterable[Row]) -> str:
    """A heading, then a line per row; what is not known is empty, and nothing is rounded."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(["" if value is None else value for value in astuple(row)] for row in rows)
    return stream.getvalue()


def from_csv(text: str, where: str) -> tuple[Row, ...]:
    """The rows that `to_csv` wrote.

    Raises: ArgumentError where the text is something else; the line starts with `where`.
    """
    try:
        lines = list(csv.reader(io.StringIO(text), strict=True))
        if not lines or tuple(lines[0]) != COLUMNS:
            raise ValueError("its columns are others")
        return tuple(_row(line) for line in lines[1:])
    except (csv.Error, ValueError) as error:
        raise ArgumentError(
            f"{where}: is not a table of this command ({error}); move it away, or choose another --out"
        ) from error


def _row(line: Sequence[str]) -> Row:
    values: dict[str, Any] = {}
    for name, cell in zip(COLUMNS, line, strict=True):
        kind = _KINDS[name]
        optional = COLUMNS.index(name) >= COLUMNS.index("channels")
        values[name] = None if optional and not cell else kind(cell)
    return Row(**values)


def _kind(hint: Any) -> type[int] | type[float] | type[str]:
    return next(kind for kind in (int, float, str) if kind in (hint, *getattr(hint, "__args__", ())))


_KINDS = {name: _kind(hint) for name, hint in get_type_hints(Row).items() if name in COLUMNS}
