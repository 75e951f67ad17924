"""The results of accuracy.py as Markdown: accuracy by amount, and accuracy where latencies are equal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from accuracy_data import Row
from accuracy_grid import UNPRUNED
from accuracy_latency import disturbed

SHARES = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3)
_LEVER = ("unconstrained", "constrained")
Point = tuple[float, float]


def by_amount(rows: Iterable[Row]) -> str:
    """Top-1 at every amount, and what freedom from constraints adds to it."""
    listed = list(rows)
    amounts = sorted({row["amount"] for row in listed if row["method"] != UNPRUNED}, key=float)
    unpruned = {row["network"]: float(row["top1"]) for row in listed if row["method"] == UNPRUNED}
    found: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in listed:
        if row["method"] != UNPRUNED:
            what = tuple(row[name] for name in ("network", "criterion", "side", "scope", "repair", "masks", "method"))
            found[what][row["amount"]] = float(row["top1"])
    heads = ("network", "criterion", "side", "scope", "repair", "masks", "method", "unpruned", *amounts)
    body = [
        (*what, _shown(unpruned.get(what[0])), *(_shown(top1.get(amount)) for amount in amounts))
        for what, top1 in found.items()
    ]
    gains = []
    for what in dict.fromkeys(what[:-1] for what in found):
        free, bound = (found.get((*what, method), {}) for method in _LEVER)
        if free and bound:
            gains.append((*what, *(_signed(free.get(amount), bound.get(amount)) for amount in amounts)))
    tables = [_table("Top-1 by amount", heads, body)]
    if gains:
        heads = ("network", "criterion", "side", "scope", "repair", "masks", *amounts)
        tables.append(_table("Unconstrained minus constrained at equal amount", heads, gains))
    return "\n".join(tables)


def by_latency(rows: Iterable[Row], shares: Sequence[float] = SHARES) -> str:
    """Top-1 at equal shares of the unpruned network's latency, wherever two methods reach the share."""
    curves, methods = _curves(rows)
    body = []
    for what, curve in curves.items():
        for share in shares:
            top1 = {method: interpolated(points, share) for method, points in curve.items()}
            if sum(value is not None for value in top1.values()) < 2:
                continue
            free, bound = (top1.get(method) for method in _LEVER)
            cells = (_shown(top1.get(method)) for method in methods)
            body.append((*what, f"{share:.2f}", *cells, _signed(free, bound)))
    heads = ("network", "criterion", "side", "scope", "repair", "latency", *methods, "gain")
    return _table("Top-1 at equal measured latency", heads, body)


def frontier(points: Iterable[Point]) -> list[Point]:
    """Of (latency, top-1) points those that no other is as fast and as accurate as; both rise along it."""
    best: list[Point] = []
    for latency, top1 in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or top1 > best[-1][1]:
            best.append((latency, top1))
    return best


def interpolated(points: Iterable[Point], latency: float) -> float | None:
    """The best top-1 within `latency`, on straight lines between the points of the frontier; None below them all."""
    best = frontier(points)
    if not best or latency < best[0][0]:
        return None
    for (fast, low), (slow, high) in pairwise(best):
        if latency < slow:
            return low + (high - low) * (latency - fast) / (slow - fast)
    return best[-1][1]


def _curves(rows: Iterable[Row]) -> tuple[Mapping[tuple[str, ...], Mapping[str, list[Point]]], list[str]]:
    """By network, criterion, side, scope and repair the points of each method; all begin with the unpruned network."""
    curves: dict[tuple[str, ...], dict[str, list[Point]]] = defaultdict(dict)
    methods: dict[str, None] = {}
    listed = [row for row in rows if not disturbed(row)]
    unpruned = {
        row["network"]: (float(row["ratio"]), float(row["top1"])) for row in listed if row["method"] == UNPRUNED
    }
    for row in listed:
        if row["method"] == UNPRUNED:
            continue
        name = row["method"] if row["masks"] == "flat" else f"{row['method']} {row['masks']}"
        methods[name] = None
        what = tuple(row[key] for key in ("network", "criterion", "side", "scope", "repair"))
        start = [unpruned[row["network"]]] if row["network"] in unpruned else []
        curves[what].setdefault(name, start).append((float(row["ratio"]), float(row["top1"])))
    return curves, list(methods)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _signed(free: float | None, bound: float | None) -> str:
    return "" if free is None or bound is None else f"{free - bound:+.1f}"


def _table(title: str, heads: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join([f"### {title}", "", *(f"| {' | '.join(line)} |" for line in lines), ""])
