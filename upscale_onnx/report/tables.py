"""Tables as text: rich tables for a terminal, plain lines that can be searched for everything else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import rich.box
import rich.table
from rich.console import Group, RenderableType
from rich.text import Text

from upscale_onnx.report.rows import Cell, Table

_LONGEST_KEY = 48
# Names may be folded into lines of this many characters, not fewer. A table that needs fewer is too wide.
_LEAST_NAME = 12
_GAP = 2


def rich_tables(tables: Iterable[Table], width: int) -> RenderableType:
    """`tables` for a rich console of `width` characters. Tables that are too wide become lines, as in `plain_text`."""
    return Group(*(_rich_table(table, width) for table in tables if table.rows or table.facts))


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


def _rich_table(table: Table, width: int) -> RenderableType:
    if not table.rows:
        return _rich_facts(table)
    roomy, least = (_least_widths(table, broken=broken) for broken in (False, True))
    if sum(least) + _GAP * len(least) > width:
        return Text(plain_text([table]))
    is_roomy = sum(roomy) + _GAP * len(roomy) <= width
    facts = "   ".join(f"{name} {grouped(value)}" for name, value in table.facts)
    drawn = _drawing(table.title)
    drawn.caption = Text(facts) if facts else None
    for index, column in enumerate(table.columns):
        numeric = is_numeric(table, index)
        drawn.add_column(
            Text(_heading(column) if is_roomy else _heading(column).replace(" ", "\n")),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=numeric,
            min_width=(roomy if is_roomy else least)[index],
        )
    for row in table.rows:
        drawn.add_row(*(Text(grouped(cell)) for cell in row))
    return drawn


def is_numeric(table: Table, index: int) -> bool:
    """Whether there are numbers in the column at `index`."""
    return any(isinstance(row[index], (int, float)) for row in table.rows)


def _least_widths(table: Table, *, broken: bool) -> list[int]:
    """The least width of each column in characters: enough for its numbers, the start of its names, and its heading.

    broken: the heading is broken into one word per line.
    """
    found = []
    for index, column in enumerate(table.columns):
        cells = max(len(grouped(row[index])) for row in table.rows)
        words = _heading(column).split() if broken else [_heading(column)]
        found.append(max(cells if is_numeric(table, index) else min(cells, _LEAST_NAME), *map(len, words), 0))
    return found


def _rich_facts(table: Table) -> RenderableType:
    drawn = _drawing(table.title)
    drawn.show_header = False
    for name, value in table.facts:
        drawn.add_row(Text(_heading(name)), Text(grouped(value)))
    return drawn


def _drawing(title: str) -> rich.table.Table:
    """An empty table with few rules, so that nine columns fit into 80 characters."""
    return rich.table.Table(
        title=Text(title, style="bold"),
        title_justify="left",
        caption_justify="left",
        box=rich.box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )


def _heading(name: str) -> str:
    return name.replace("_", " ")


def _plain_lines(table: Table) -> list[tuple[str, str]]:
    facts = [(f"{table.name}.{name}", _exact(value)) for name, value in table.facts]
    cells = [[_exact(cell) for cell in row] for row in table.rows]
    widths = [max(len(row[i]) for row in cells) if cells else 0 for i in range(len(table.columns))]
    return facts + [(f"{table.name}.{row[0]}", _columns(table.columns, row, widths)) for row in cells]


def _columns(names: Sequence[str], row: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(names[1:], row[1:], widths[1:], strict=True)
    return "  ".join(f"{name} {value:<{width}}" for name, value, width in pairs)


def grouped(cell: Cell) -> str:
    """`cell` as text for people: thousands are separated, fractions have four digits."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return f"{cell:.4g}" if isinstance(cell, float) else _exact(cell)


def _exact(cell: Cell) -> str:
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:.6g}" if isinstance(cell, float) else printable(str(cell))
