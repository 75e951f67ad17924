"""Tables for a terminal, drawn by rich."""

from __future__ import annotations

from collections.abc import Iterable

import rich.box
import rich.table
from rich.console import Group, RenderableType
from rich.text import Text

from upscale_onnx.report.plain import grouped, is_numeric, plain_text
from upscale_onnx.report.rows import Table

# Names may be folded into lines of this many characters, not fewer. A table that needs fewer is too wide.
_LEAST_NAME = 12
_GAP = 2


def rich_tables(tables: Iterable[Table], width: int) -> RenderableType:
    """`tables` for a rich console of `width` characters. Tables that are too wide become lines, as in `plain_text`."""
    return Group(*(_rich_table(table, width) for table in tables if table.rows or table.facts))


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
