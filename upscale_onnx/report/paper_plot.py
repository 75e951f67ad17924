"""The two figures of the paper: the gain by unconstrained masks, and the gain of the export over the baseline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from upscale_onnx.report.plot import check_plot, literal, write_figure
from upscale_onnx.results.lines import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AMOUNT = "share of channels pruned"
_MANY = 6
_MOST_TICKS = 10


def write_gap_plot(lines: Sequence[Line], axis: str, title: str, path: str | os.PathLike[str]) -> None:
    """Draw lines around zero to `path`. axis: the label of the vertical axis.

    Raises: ArgumentError if matplotlib is missing or the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="grey", linewidth=0.8)
    for number, line in enumerate(lines):
        axes.plot(line.amounts, line.values, marker="o", color=f"C{number % 10}", label=literal(line.label))
    _amounts(axes, lines)
    axes.set_ylabel(axis)
    _legend(axes, len(lines))
    _write(figure, title, path)


def write_latency_plot(
    groups: Sequence[tuple[Line, Line, Line]], unpruned_ms: float | None, title: str, path: str | os.PathLike[str]
) -> None:
    """Draw latencies and ratios to `path`, each in a panel.

    Per group, the first panel has the latency in ms of the baseline export (dashed) and of the compiled model. The
    second panel has the ratio of the compiled model to the baseline, with its interval.

    Raises: ArgumentError if matplotlib is missing or the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 4.5), layout="constrained")
    times, ratios = figure.subplots(1, 2)
    if unpruned_ms is not None:
        times.axhline(unpruned_ms, color="black", linewidth=0.8, linestyle=":", label="unpruned")
    ratios.axhline(1, color="grey", linewidth=0.8)
    for number, (baseline, pruned, ratio) in enumerate(groups):
        color = f"C{number % 10}"
        times.plot(baseline.amounts, baseline.values, linestyle="--", marker=".", color=color, alpha=0.6)
        times.plot(pruned.amounts, pruned.values, marker="o", color=color, label=literal(pruned.label))
        ratios.errorbar(ratio.amounts, ratio.values, _whiskers(ratio), marker="o", capsize=2, color=color)
    times.plot([], [], linestyle="--", color="black", label="baseline exports (dashed)")
    times.set_ylim(bottom=0)
    times.set_ylabel("latency (ms)")
    ratios.set_ylabel("latency over the baseline export's")
    for axes in (times, ratios):
        _amounts(axes, [line for group in groups for line in group])
    _legend(times, len(groups) + 2)
    _write(figure, title, path)


def _whiskers(line: Line) -> list[list[float]] | None:
    """The lengths of the interval below and above each point; None without intervals."""
    if not line.low:
        return None
    below = [max(value - low, 0.0) for value, low in zip(line.values, line.low, strict=True)]
    above = [max(high - value, 0.0) for value, high in zip(line.values, line.high, strict=True)]
    return [below, above]


def _amounts(axes: Axes, lines: Sequence[Line]) -> None:
    """Label the horizontal axis, with a tick at every amount unless there are many."""
    axes.set_xlabel(_AMOUNT)
    amounts = sorted({amount for line in lines for amount in line.amounts})
    if len(amounts) <= _MOST_TICKS:
        axes.set_xticks(amounts)


def _legend(axes: Axes, entries: int) -> None:
    # At the usual length, a dashed line shows one and a half dashes, and looks like a short solid line.
    axes.legend(fontsize="x-small", ncols=1 + entries // _MANY, handlelength=4)


def _write(figure: Figure, title: str, path: str | os.PathLike[str]) -> None:
    figure.suptitle(literal(title), fontsize="small")
    write_figure(figure, path)
