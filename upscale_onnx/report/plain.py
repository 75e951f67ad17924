"""Tables as plain lines that can be searched, and their cells as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from upscale_onnx.report.rows import Cell, Table

_LONGEST_KEY = 48


def plain_text(tables: Iterable[Table]) -> str:
    """`tables` as lines of a key and its values, without colour and of any length.

    A fact is the line `table.fact value`; a row is `table.row column value column value ...`, with aligned columns.
    Numbers have no thousands separators; unknown values are `-`.
    """
    tables = list(tables)
    keys = [len(key) for table in tables for key, _ in _plain_lines(table)]
    width = min(max(keys, default=0), _LONGEST_KEY)
    return "".join(f"{key:<{width}}  {rest}".rstrip() + "\n" for table in tables for key, rest in _plain_lines(table))


def printable(text: str) -> str:
    """`text` with control characters escaped, so that names in a model cannot move the cursor or end a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def grouped(cell: Cell) -> str:
    """`cell` as text for people: thousands are separated, fractions have four digits."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return f"{cell:.4g}" if isinstance(cell, float) else _exact(cell)


def is_numeric(table: Table, index: int) -> bool:
    """Whether there are numbers in the column at `index`."""
    return any(isinstance(row[index], (int, float)) for row in table.rows)


def _plain_lines(table: Table) -> list[tuple[str, str]]:
    facts = [(f"{table.name}.{name}", _exact(value)) for name, value in table.facts]
    cells = [[_exact(cell) for cell in row] for row in table.rows]
    widths = [max(len(row[i]) for row in cells) if cells else 0 for i in range(len(table.columns))]
    return facts + [(f"{table.name}.{row[0]}", _columns(table.columns, row, widths)) for row in cells]


def _columns(names: Sequence[str], row: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(names[1:], row[1:], widths[1:], strict=True)
    return "  ".join(f"{name} {value:<{width}}" for name, value, width in pairs)


def _exact(cell: Cell) -> str:
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:.6g}" if isinstance(cell, float) else printable(str(cell))
