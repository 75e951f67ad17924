"""Charts of a page, drawn by matplotlib as SVG. Colours are names of the page's own, so that they follow its theme."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from upscale_onnx.report.plot import literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Json = Mapping[str, Any]

# What is drawn in these colours is shown in those of the page's style.
INK, MUTED, LINE, BEFORE, AFTER = "#010203", "#010204", "#010205", "#010206", "#010207"
_STYLE = {INK: "ink", MUTED: "muted", LINE: "line", BEFORE: "before", AFTER: "after"}
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "ytick.major.size": 0,
    "xtick.major.size": 0,
    "grid.color": LINE,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
_WIDTH = 5.2  # inches
_MOST_OPERATORS = 8
_MOST_INCHES = 24
_MOST_TRACKS = 400
_JITTER = 0.22
_LONGEST_LABEL = 18
# By kind of node: its marker in the picture of the network, the colour, and the size.
_MARKS = (
    ("producers", ">", AFTER, 5.0),
    ("consumers", "|", INK, 8.0),
    ("forks", "o", BEFORE, 4.5),
    ("joins", "D", BEFORE, 4.5),
)


def latency_chart(race: Json, export: str | None = None) -> str:
    """The latency of each runner in every round, and its median. export: the name of the result."""

    def draw(axes: Axes) -> None:
        timings = race["timings"]
        for row, timing in enumerate(timings):
            colour = _colour(row, timing["name"], export or race["winner"])
            rounds = np.array(timing["round_ms"] or [timing["median_ms"]])
            places = row + np.random.default_rng(0).uniform(-_JITTER, _JITTER, rounds.size)
            axes.plot(rounds, places, "o", color=colour, alpha=0.45, markersize=4, markeredgewidth=0)
            axes.vlines(timing["median_ms"], row - 0.36, row + 0.36, color=colour, linewidth=2.5)
        axes.set_yticks(range(len(timings)), [_label(timing["name"]) for timing in timings])
        axes.set_ylim(len(timings) - 0.4, -0.6)
        axes.grid(axis="x", linewidth=0.8)
        axes.set_xlim(left=0)
        axes.set_xlabel("ms per inference")

    return _svg(draw, 0.5 + 0.42 * len(race["timings"]), "latency")


def operators_chart(profiles: Sequence[Json]) -> str:
    """The time of the slowest operator types in each profile."""
    totals: dict[str, float] = {}
    for profile in profiles:
        for operator in profile["operators"]:
            totals[operator["op_type"]] = max(totals.get(operator["op_type"], 0.0), operator["ms"])
    shown = sorted(totals, key=lambda op_type: -totals[op_type])[:_MOST_OPERATORS]

    def draw(axes: Axes) -> None:
        height = 0.8 / len(profiles)
        for index, profile in enumerate(profiles):
            times = {operator["op_type"]: operator["ms"] for operator in profile["operators"]}
            places = np.arange(len(shown)) + (index - (len(profiles) - 1) / 2) * height
            colour = BEFORE if index == 0 else AFTER if index == 1 else MUTED
            values = [times.get(op_type, 0.0) for op_type in shown]
            bars = axes.barh(places, values, 0.88 * height, color=colour)
            axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3, color=MUTED, fontsize=9)
        axes.set_yticks(range(len(shown)), [_label(op_type) for op_type in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(axis="x", linewidth=0.8)
        axes.margins(x=0.12)
        axes.set_xlabel("ms per inference")

    return _svg(draw, 0.5 + max(0.4, 0.2 * len(profiles)) * len(shown), "operators") if shown else ""


def network_chart(picture: Json) -> str:
    """The segments of a network as lines over its nodes, with their producers, consumers, forks and joins."""
    tracks = picture["tracks"][:_MOST_TRACKS]

    def draw(axes: Axes) -> None:
        spans = [[place for kind, *_ in _MARKS for place in track[kind]] or [0] for track in tracks]
        ends = [min(span) for span in spans], [max(span) for span in spans]
        axes.hlines(range(len(tracks)), *ends, color=MUTED, linewidth=1.4, zorder=1)
        for kind, marker, colour, size in _MARKS:
            points = [(place, row) for row, track in enumerate(tracks) for place in track[kind]]
            axes.plot(
                [place for place, _ in points], [row for _, row in points], marker, color=colour, markersize=size,
                markeredgewidth=1.4, markerfacecolor="none" if kind == "forks" else colour, linestyle="none", zorder=2,
            )  # fmt: skip
        axes.set_ylim(len(tracks) - 0.3, -0.7)
        step = max(1, -(-len(tracks) // 24))
        axes.set_yticks(
            range(0, len(tracks), step), [str(tracks[row]["segment"]) for row in range(0, len(tracks), step)]
        )
        axes.set_xlabel("nodes of the graph, in order")
        axes.set_ylabel("segment")

    height = 0.6 + min(len(tracks) * (0.2 if len(tracks) <= 40 else 0.09), _MOST_INCHES)
    return _svg(draw, height, "network", width=8.0) if tracks else ""


def front_chart(
    groups: Mapping[str, Sequence[Sequence[float]]], front: Sequence[Sequence[float]], labels: Sequence[str]
) -> str:
    """Trials as points, in groups, and the line through the front."""

    def draw(axes: Axes) -> None:
        markers = "osv^DP"
        for index, (name, points) in enumerate(groups.items()):
            xs, ys = zip(*points, strict=True) if points else ((), ())
            colour = BEFORE if name == "unpruned" else MUTED
            axes.plot(xs, ys, markers[index % len(markers)], color=colour, alpha=0.7, markersize=4, label=literal(name))
        if front:
            xs, ys = zip(*sorted(map(tuple, front)), strict=True)
            axes.plot(xs, ys, "o-", color=AFTER, markersize=5, label="front")
        axes.set_xlabel(literal(labels[0]))
        axes.set_ylabel(literal(labels[1]))
        axes.grid(linewidth=0.8)
        axes.legend(frameon=False, fontsize=9)

    return _svg(draw, 3.4, "front", width=6.4)


def _colour(row: int, name: str, export: str) -> str:
    return BEFORE if row == 0 else AFTER if name == export else MUTED


def _label(name: str) -> str:
    """The end of a name, for an axis."""
    short = name.replace("\\", "/").rsplit("/", 1)[-1]
    return literal(short if len(short) <= _LONGEST_LABEL else f"{short[: _LONGEST_LABEL - 1]}…")


def _svg(draw: Callable[[Axes], None], height: float, name: str, *, width: float = _WIDTH) -> str:
    """What `draw` draws, as an SVG element in the colours of the page."""
    import matplotlib
    from matplotlib.figure import Figure

    # The salt makes the names of shared parts the same in every run, and others in every chart of a page.
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure: Figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    text = file.getvalue()
    for colour, style in _STYLE.items():
        text = text.replace(colour, f"var(--{style})")
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return re.sub(
        r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", text, count=1), count=1
    )
