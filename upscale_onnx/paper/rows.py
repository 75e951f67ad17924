"""Rows of results.csv: the settings of each trial, and its results."""

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

    model, data, calibration: names of files, "" for none.
    checksum: a checksum of the model's content.
    repair: the repair, "" for none.
    train, epochs: the name of the file that the masked models are trained on, "" for none, and for how many epochs.
    setup: a checksum of the other files, the preprocessing of images, the limit, the export and the batch of training.
    """

    model: str
    checksum: str
    data: str
    calibration: str
    repair: str
    train: str
    epochs: int
    seed: int
    provider: str
    threads: int
    setup: str


@dataclass(frozen=True)
class Row(Setting):
    """A trial and its results; None is a result that was not asked for.

    channels: the number of pruned channels.
    parameters, macs: of the export that is asked for; for "auto", of the paper's export, whether models are timed or
    not.
    export: the export that is timed, if any.
    top1, top5: accuracies of the compiled model on `images` images, shares of 1; unpruned_top1: of the unpruned model.
    distance: of the outputs from those of the unpruned model, relative to these.
    latency_ms, baseline_ms, unpruned_ms: median latencies of the compiled model, of the "gather" export of the same
    masks, and of the unpruned model, measured in turns; latency_std_ms, baseline_std_ms, unpruned_std_ms: the standard
    deviations over rounds.
    ratio: latency_ms relative to baseline_ms; ratio_low, ratio_high: its 95 % interval.
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
    unpruned_std_ms: float | None = None
    baseline_ms: float | None = None
    baseline_std_ms: float | None = None
    latency_ms: float | None = None
    latency_std_ms: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None

    @property
    def key(self) -> Key:
        """All fields of the setting and the trial. Rows with the same key belong to the same trial."""
        return astuple(self)[: COLUMNS.index("channels")]

    @property
    def has_accuracy(self) -> bool:
        """Whether the accuracy, or the distance of outputs in its place, is known."""
        return self.top1 is not None or self.distance is not None

    @property
    def has_latency(self) -> bool:
        """Whether the models of the trial were timed."""
        return self.latency_ms is not None


COLUMNS = tuple(field.name for field in fields(Row))


def is_of(row: Row, setting: Setting) -> bool:
    """Whether `row` was measured in this setting."""
    return all(getattr(row, name) == getattr(setting, name) for name in vars(setting))


def merged(rows: Iterable[Row], fresh: Row) -> tuple[Row, ...]:
    """`rows` with `fresh` in place of the row with the same key, or at the end. Results that `fresh` lacks are kept."""
    found = {row.key: row for row in rows}
    old = found.get(fresh.key)
    if old is not None:
        known = {name: value for name, value in vars(fresh).items() if value is not None}
        fresh = replace(old, **known)
    found[fresh.key] = fresh
    return tuple(found.values())


def cleaned(rows: Iterable[Row], setting: Setting) -> tuple[Row, ...]:
    """`rows` without those that only the contents of files, or options that the table does not hold, tell apart.

    Of these, the one in `setting` is kept, else the last that was timed, else the last.
    """
    known, kept = tuple(rows), dict[Key, Row]()
    for row in sorted(known, key=lambda row: (is_of(row, setting), row.has_latency)):
        kept[replace(row, checksum="", setup="").key] = row
    best = set(kept.values())
    return tuple(row for row in known if row in best)


def to_csv(rows: Iterable[Row]) -> str:
    """CSV text: a heading, then one line per row. Unknown values are empty, and numbers are not rounded."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(["" if value is None else value for value in astuple(row)] for row in rows)
    return stream.getvalue()


def from_csv(text: str, where: str) -> tuple[Row, ...]:
    """The rows in `text`, which `to_csv` wrote.

    Raises: ArgumentError if the text is something else; the message starts with `where`.
    """
    try:
        lines = list(csv.reader(io.StringIO(text), strict=True))
        if not lines or tuple(lines[0]) != COLUMNS:
            raise ValueError("it has other columns")
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
