"""A plot of races: bars of latency, and, if there are profiles, bars of the time by operator type."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import NewFiles, write_whole
from upscale_onnx.report.bench_rows import setting, short_names
from upscale_onnx.results import Bench, Race, TimeProfile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".pdf", ".png", ".svg")

_GROUP = 0.8  # width of a group of bars, as a share of the distance between two groups
_MOST_OPERATORS = 8
_PANEL_INCHES = 6.0


def check_plot(path: str | os.PathLike[str]) -> None:
    """Check that a plot can be drawn, before anything is measured for it.

    Raises: ArgumentError if matplotlib is missing or the name of the file has no known ending.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise ArgumentError(f"{path}: a plot is written as {', '.join(FORMATS)}; choose a name with such an ending")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ArgumentError("a plot needs matplotlib: pip install 'upscale-onnx[report]'") from error


def write_plot(bench: Bench, path: str | os.PathLike[str], files: NewFiles | None = None) -> None:
    """Draw the races of `bench` in one panel, and its profiles in a second one, to `path`.

    The file is written now or together with `files`.

    Raises: ArgumentError as in `check_plot`, or if the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    panels = 1 + bool(bench.profiles)
    figure = Figure(figsize=(_PANEL_INCHES * panels, 4.5), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _draw_races(axes[0], bench.races)
    if bench.profiles:
        _draw_profiles(axes[1], bench.profiles)
    device = bench.machine.get("device")
    if device:
        figure.suptitle(str(device).replace("$", r"\$"), fontsize="small")
    write_figure(figure, path, files)


def _draw_races(axes: Axes, races: Sequence[Race]) -> None:
    """Draw a group of bars per race. A bar is the median; its whisker goes from the 10th to the 90th percentile."""
    names = list(dict.fromkeys(timing.name for race in races for timing in race.timings))
    labels = short_names(names)
    width = _GROUP / max(len(names), 1)
    for index, name in enumerate(names):
        found = [(place, t) for place, race in enumerate(races) for t in race.timings if t.name == name]
        places = [place + (index - (len(names) - 1) / 2) * width for place, _ in found]
        medians = [t.median_ms for _, t in found]
        spread = np.array([[t.median_ms - t.p10_ms, t.p90_ms - t.median_ms] for _, t in found]).T.clip(min=0)
        bars = axes.bar(places, medians, width, yerr=spread, capsize=2, label=literal(labels[name]))
        axes.bar_label(bars, [f"{t.ratio:.2f}" for _, t in found], fontsize="x-small", padding=1)
    axes.set_xticks(range(len(races)), [setting(race.batch, race.threads).replace(", ", "\n") for race in races])
    axes.set_ylabel("latency (ms); above: ratio to the first")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="x-small")


def _draw_profiles(axes: Axes, profiles: Sequence[TimeProfile]) -> None:
    """Draw a stacked bar per profile: the operator types that take most time, and all others together."""
    totals: dict[str, float] = {}
    for profile in profiles:
        for operator in profile.operators:
            totals[operator.op_type] = totals.get(operator.op_type, 0.0) + operator.ms
    shown = sorted(totals, key=lambda op_type: -totals[op_type])[:_MOST_OPERATORS]
    labels = short_names([profile.name for profile in profiles])
    floor = np.zeros(len(profiles))
    for op_type in (*shown, None):
        heights = np.array([_milliseconds(profile, op_type, shown) for profile in profiles])
        if heights.any():
            axes.bar(range(len(profiles)), heights, _GROUP, bottom=floor, label=literal(op_type or "others"))
        floor += heights
    names = [f"{literal(labels[p.name])}\n{setting(p.batch, p.threads)}" for p in profiles]
    axes.set_xticks(range(len(profiles)), names, fontsize="x-small", rotation=30, ha="right", rotation_mode="anchor")
    axes.set_ylabel("time in operators (ms)")
    axes.legend(fontsize="x-small")


def _milliseconds(profile: TimeProfile, op_type: str | None, shown: Sequence[str]) -> float:
    """The time in ms of one operator type; with None, of all types that are not `shown`."""
    return sum(o.ms for o in profile.operators if (o.op_type == op_type if op_type else o.op_type not in shown))


def write_figure(figure: Figure, path: str | os.PathLike[str], files: NewFiles | None = None) -> None:
    """Write a drawn figure to `path`, now or together with `files`.

    Raises: ArgumentError if the file cannot be written.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format=Path(path).suffix[1:].lower(), dpi=150)
    write_whole(picture.getvalue(), path, files)


def literal(text: str) -> str:
    """`text` as a label for matplotlib: "$" starts no formula, and a leading "_" does not hide it from the legend."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")
