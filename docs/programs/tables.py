"""The results of latency.py as tables for a terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import geometric_mean, median
from typing import Any

from runners import AUTO, INPUT, PEERS

from upscale_onnx.report.rows import Cell, Table

Row = dict[str, Any]
BOUND = "bound"
_CLOSE, _GOOD = 1.10, 0.15
SETTING = ("engine", "precision", "threads", "batch", "amount")


def tables(results: Iterable[Row]) -> list[Table]:
    """Per setting the ratio of every runner to the input, network by network, and how far ahead of peers we are."""
    found: list[Table] = []
    for _, group in groupby(sorted(results, key=_order), key=_setting):
        rows = list(group)
        found.append(_ratios(rows))
        found += [table for table in (_against_peers(rows), _against_bounds(rows)) if table is not None]
    return found


def markdown(found: Iterable[Table]) -> str:
    """`found` as Markdown."""
    return "\n".join(_markdown_table(table) for table in found)


def _order(row: Row) -> tuple[Any, ...]:
    return (*(str(row[name]) for name in SETTING[:2]), row["threads"], row["batch"], row["amount"] or 0, row["network"])


def _setting(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in SETTING)


def _title(row: Row) -> str:
    threads = "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"
    pruned = "as given" if row["amount"] is None else f"{row['amount']:.0%} pruned"
    return f"{pruned}, batch {row['batch']}, {row['engine']}, {row['precision']}, {threads}"


def _ratios(rows: Sequence[Row]) -> Table:
    names = [name for name in dict.fromkeys(n for row in rows for n in row["runners"]) if name != INPUT]
    if any(row["bound"] is not None for row in rows):
        names.append(BOUND)
    body: list[tuple[Cell, ...]] = [
        (row["network"], row["runners"][INPUT]["median_ms"], *(_ratio(row, name) for name in names)) for row in rows
    ]
    ratios = [[r for row in rows if (r := _ratio(row, name)) is not None] for name in names]
    means = [geometric_mean(known) if known else math.nan for known in ratios]
    counts = [sum(_ratio(row, name) is not None for row in rows) for name in names]
    body.append(("geometric mean", None, *means))
    if len(set(counts)) > 1:
        body.append(("of networks", None, *counts))
    return Table("latency", _title(rows[0]), ("network", "input ms", *names), tuple(body))


def _against_peers(rows: Sequence[Row]) -> Table | None:
    """How many times faster ours is than each peer, over the networks that the peer can handle."""
    body: list[tuple[Cell, ...]] = []
    for peer in PEERS:
        speeds = [
            theirs / ours
            for row in rows
            if (theirs := _ratio(row, peer)) is not None and (ours := _ratio(row, AUTO)) is not None
        ]
        if speeds:
            body.append((peer, len(speeds), geometric_mean(speeds), min(speeds), max(speeds)))
    if not body:
        return None
    columns = ("peer", "networks", "times faster", "least", "most")
    return Table("peers", f"{AUTO} against others: {_title(rows[0])}", columns, tuple(body))


def _against_bounds(rows: Sequence[Row]) -> Table | None:
    """How far what the package chose is from the bound, and how good its predictions are."""
    distances = [ours / row["bound"] for row in rows if row["bound"] and (ours := _ratio(row, AUTO)) is not None]
    errors = [
        abs(timing["predicted_ms"] / timing["median_ms"] - 1)
        for row in rows
        for timing in row["runners"].values()
        if "predicted_ms" in timing
    ]
    if not distances:
        return None
    close = sum(distance <= _CLOSE for distance in distances)
    good = sum(error <= _GOOD for error in errors)
    body: tuple[tuple[Cell, ...], ...] = (
        (f"{AUTO} over bound", len(distances), geometric_mean(distances), max(distances), f"{close} within {_CLOSE}"),
        ("error of predictions", len(errors), median(errors), max(errors), f"{good} within {_GOOD}"),
    )
    columns = ("", "number", "typical", "most", "")
    return Table("bound", f"{AUTO} and the limit: {_title(rows[0])}", columns, body)


def _ratio(row: Row, name: str) -> float | None:
    if name == BOUND:
        bound: float | None = row["bound"]
        return bound
    timing = row["runners"].get(name)
    return None if timing is None else timing["ratio"]


def _markdown_table(table: Table) -> str:
    lines = [f"### {table.title}", "", _markdown_row(table.columns), _markdown_row(["---"] * len(table.columns))]
    return "\n".join([*lines, *(_markdown_row([_shown(cell) for cell in row]) for row in table.rows), ""])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)
