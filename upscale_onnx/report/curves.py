"""A plot of the loss of layers: one curve per layer, and how much of each layer may be pruned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upscale_onnx.files.publish import NewFiles
from upscale_onnx.report.plot import check_plot, literal, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_INCHES = 0.17
_LEAST_INCHES = 4.5
_MOST_INCHES = 30.0
_MOST_LEGEND = 12


@dataclass(frozen=True)
class Curve:
    """The loss of a layer. losses: one per amount. largest: the largest amount that is tolerated, a share 0 to 1."""

    name: str
    losses: tuple[float, ...]
    largest: float


def write_curves(
    curves: Sequence[Curve],
    amounts: Sequence[float],
    path: str | os.PathLike[str],
    *,
    ylabel: str,
    tolerated: float,
    title: str = "",
    files: NewFiles | None = None,
) -> None:
    """Draw a plot to `path`: losses against amounts in one panel, the largest amount of each layer in another.

    Layers are coloured by their position; a dashed line shows the tolerated loss. The file is written now or together
    with `files`.

    Raises: ArgumentError as in `check_plot`, or if the file cannot be written.
    """
    check_plot(path)
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    height = min(max(_LEAST_INCHES, 1.0 + _ROW_INCHES * len(curves)), _MOST_INCHES)
    figure = Figure(figsize=(11, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = [colormaps["viridis"](i / max(len(curves) - 1, 1)) for i in range(len(curves))]
    _draw_losses(left, curves, amounts, colours, tolerated)
    left.set_ylabel(ylabel)
    _draw_largest(right, curves, colours)
    if title:
        figure.suptitle(literal(title), fontsize="small")
    write_figure(figure, path, files)


def _draw_losses(
    axes: Axes, curves: Sequence[Curve], amounts: Sequence[float], colours: Sequence[object], tolerated: float
) -> None:
    for curve, colour in zip(curves, colours, strict=True):
        axes.plot([0.0, *amounts], [0.0, *curve.losses], color=colour, marker=".", label=literal(curve.name))
    axes.axhline(tolerated, color="black", linestyle="--", linewidth=1)
    place = ("axes fraction", "data")
    axes.annotate("tolerated", (0.99, tolerated), xycoords=place, fontsize="x-small", ha="right", va="bottom")
    axes.set_xlabel("amount of one layer pruned")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    if len(curves) <= _MOST_LEGEND:
        axes.legend(fontsize="x-small")


def _draw_largest(axes: Axes, curves: Sequence[Curve], colours: Sequence[object]) -> None:
    places = range(len(curves))
    axes.barh(places, [curve.largest for curve in curves], color=colours)
    axes.set_yticks(places, [literal(curve.name) for curve in curves], fontsize="x-small")
    axes.invert_yaxis()  # the first layer at the top
    axes.margins(y=0.01)
    axes.set_xlim(0, 1)
    axes.set_xlabel("largest amount tolerated")
    axes.grid(axis="x", alpha=0.3)
