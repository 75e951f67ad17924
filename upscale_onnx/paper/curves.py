"""Makes the curves of the paper's two figures from rows of results."""

from __future__ import annotations

from collections.abc import Iterable

from upscale_onnx.paper.rows import Row
from upscale_onnx.results.lines import Line


def accuracy_gaps(rows: Iterable[Row]) -> tuple[tuple[Line, ...], str]:
    """The gain by unconstrained masks: one curve per criterion and side, and the label of the vertical axis.

    A point is the top-1 accuracy of unconstrained (or hybrid) masks minus that of constrained masks, in percentage
    points, at an amount for which both are known. If no row has an accuracy, it is the distance of outputs with
    constrained masks minus that with unconstrained ones.
    """
    known = tuple(rows)
    labelled = tuple(row for row in known if row.top1 is not None)
    quality = {row: 100 * row.top1 for row in labelled if row.top1 is not None}
    if not labelled:
        quality = {row: -row.distance for row in known if row.distance is not None}
    bound = {_place(row): value for row, value in quality.items() if row.method == "constrained"}
    points: dict[str, dict[float, float]] = {}
    for row, value in quality.items():
        if row.method != "constrained" and _place(row) in bound:
            points.setdefault(_label(row), {})[row.amount] = value - bound[_place(row)]
    axis = "top-1 above constrained (points)" if labelled else "distance of outputs below constrained"
    return tuple(_curve(label, found) for label, found in points.items()), axis


def latencies(rows: Iterable[Row]) -> tuple[tuple[Line, Line, Line], ...]:
    """The gain of the export: three curves per criterion, side and method.

    These are the latency in ms of the baseline export, that of the compiled model, and the ratio of the compiled model
    to the baseline, with its interval.
    """
    grouped: dict[str, dict[float, Row]] = {}
    for row in rows:
        if row.latency_ms is not None and row.baseline_ms is not None and row.ratio is not None:
            grouped.setdefault(_label(row, method=True), {})[row.amount] = row
    found = []
    for label, group in grouped.items():
        timed = [group[amount] for amount in sorted(group)]
        baseline = _curve(label, {row.amount: row.baseline_ms or 0.0 for row in timed})
        pruned = _curve(label, {row.amount: row.latency_ms or 0.0 for row in timed})
        low = tuple(row.ratio if row.ratio_low is None else row.ratio_low for row in timed)
        high = tuple(row.ratio if row.ratio_high is None else row.ratio_high for row in timed)
        ratio = _curve(label, {row.amount: row.ratio or 0.0 for row in timed})
        found.append((baseline, pruned, Line(label, ratio.amounts, ratio.values, _all(low), _all(high))))
    return tuple(found)


def unpruned_ms(rows: Iterable[Row]) -> float | None:
    """The median latency in ms of the unpruned model, over all timed rows; None without any."""
    known = sorted(row.unpruned_ms for row in rows if row.unpruned_ms is not None)
    return known[len(known) // 2] if known else None


def _all(values: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(value for value in values if value is not None)


def _place(row: Row) -> tuple[object, ...]:
    return row.side, row.criterion, row.scope, row.amount


def _label(row: Row, method: bool = False) -> str:
    words = [row.criterion, row.side]
    if method or row.method not in ("constrained", "unconstrained"):
        words.append(row.method)
    if row.scope != "local":
        words.append(row.scope)
    return ", ".join(words)


def _curve(label: str, points: dict[float, float]) -> Line:
    amounts = tuple(sorted(points))
    return Line(label, amounts, tuple(points[amount] for amount in amounts))
