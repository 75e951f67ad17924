"""A plot of rewards: contours over accuracy and compression, one panel for each reward."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from upscale_onnx.report.plot import check_plot, literal, write_figure
from upscale_onnx.types import FloatArray

_LEVELS = 20


@dataclass(frozen=True, eq=False)
class Panel:
    """Rewards (accuracies, compressions) at each pair of both. axis: what compressions are."""

    title: str
    axis: str
    accuracies: FloatArray
    compressions: FloatArray
    rewards: FloatArray


def write_landscapes(panels: Sequence[Panel], path: str | os.PathLike[str]) -> None:
    """Draw `panels` side by side to `path`.

    Raises: ArgumentError if matplotlib is missing or the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(panels), 4.0), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        drawn = axes.contourf(panel.compressions, panel.accuracies, panel.rewards, levels=_LEVELS)
        figure.colorbar(drawn, ax=axes, label="reward")
        axes.set_title(literal(panel.title), fontsize="medium")
        axes.set_xlabel(literal(panel.axis))
        axes.set_ylabel("accuracy")
    write_figure(figure, path)
