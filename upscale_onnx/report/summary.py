"""A result in a few lines of text, or as a table for a notebook: its sentence, and the first rows of its table."""

from __future__ import annotations

from functools import singledispatch

from upscale_onnx.errors import InternalError
from upscale_onnx.report import headline
from upscale_onnx.report.difference_rows import differences_table
from upscale_onnx.report.measured_rows import accuracy_table, calibration_table, sensitivity_table
from upscale_onnx.report.plain import grouped, is_numeric, printable
from upscale_onnx.report.rows import Table, race_table, segments_table, verification_table
from upscale_onnx.report.sentences import sentence
from upscale_onnx.report.sparsity_rows import sparsified_table, sparsity_table
from upscale_onnx.report.training_rows import course_table
from upscale_onnx.results import (
    Accuracy,
    Bench,
    Calibration,
    Course,
    Finetuned,
    Front,
    Inspection,
    PrunedInTraining,
    Report,
    Result,
    Sensitivity,
    Sparsified,
    Sparsity,
    Verification,
)
from upscale_onnx.results.differences import Differences

_LINES = 6  # of a table in text
_ROWS = 50  # of a table in a notebook
_LONGEST = 40  # characters of a name
_GAP = "  "


def text_of(result: object) -> str:
    """The sentence of `result` and the start of its table, as lines without a line feed at the end."""
    table = table_of(result)
    rows = [[_short(grouped(cell)) for cell in row] for row in table.rows[:_LINES]]
    lines = [[column.replace("_", " ") for column in table.columns], *rows] if rows else []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [is_numeric(table, place) for place in range(len(widths))]
    drawn = [
        _GAP.join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([printable(sentence(result)), *drawn, *_more(table, _LINES)])


def html_of(result: object) -> str | None:
    """The same as HTML, with more rows; None where Jinja2 is missing."""
    try:
        import jinja2  # noqa: F401
    except ImportError:
        return None
    from upscale_onnx.report.page.write import environment

    table = table_of(result)
    right = [is_numeric(table, place) for place in range(len(table.columns))]
    return (
        environment()
        .get_template("notebook.html")
        .render(
            sentence=sentence(result),
            columns=[column.replace("_", " ") for column in table.columns],
            rows=[list(zip(map(grouped, row), right, strict=True)) for row in table.rows[:_ROWS]],
            more=_more(table, _ROWS),
        )
    )


def _more(table: Table, shown: int) -> list[str]:
    left = len(table.rows) - shown
    return [f"{left:,} more row{'' if left == 1 else 's'}"] if left > 0 else []


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


@singledispatch
def table_of(result: object) -> Table:
    """The table of `result`."""
    raise InternalError(f"there is no table for {type(result).__name__}")


@table_of.register
def _report(report: Report) -> Table:
    rows = tuple((row.what, row.before, row.after, row.change) for row in headline.outcome(report))
    return Table("outcome", "Outcome", ("", "before", "after", "change"), rows)


@table_of.register
def _result(result: Result) -> Table:
    return _report(result.report)


@table_of.register
def _pruned(found: PrunedInTraining) -> Table:
    return _report(found.report)


@table_of.register
def _finetuned(found: Finetuned) -> Table:
    return course_table(found.course)


@table_of.register
def _inspection(found: Inspection) -> Table:
    return segments_table(found.segments)


@table_of.register
def _bench(bench: Bench) -> Table:
    return race_table(bench.races[0])


@table_of.register
def _front(front: Front) -> Table:
    return Table("search", "Search", front.columns, front.rows)


table_of.register(Verification, verification_table)
table_of.register(Accuracy, accuracy_table)
table_of.register(Calibration, calibration_table)
table_of.register(Sensitivity, sensitivity_table)
table_of.register(Sparsity, sparsity_table)
table_of.register(Sparsified, sparsified_table)
table_of.register(Course, course_table)
table_of.register(Differences, differences_table)
