"""A plot of a training by reinforcement: mean, least and most of each measure, by hours."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from upscale_onnx.report.plot import check_plot, literal, write_figure

_HOUR = 3600.0


def write_training_curve(
    rows: Sequence[Mapping[str, float]], measures: Sequence[str], title: str, path: str | os.PathLike[str]
) -> None:
    """Draw a panel for each of `measures` to `path`: a line of the mean in a band from the least to the most.

    rows: one for each iteration, with "seconds" since the start, and NAME_mean, NAME_min and NAME_max.

    Raises: ArgumentError if matplotlib is missing or the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(measures), 3.5), layout="constrained")
    hours = [row["seconds"] / _HOUR for row in rows]
    for axes, name in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        low, high = ([row[f"{name}_{part}"] for row in rows] for part in ("min", "max"))
        axes.fill_between(hours, low, high, alpha=0.3, linewidth=0)
        axes.plot(hours, [row[f"{name}_mean"] for row in rows])
        axes.set_xlabel("training time (hours)")
        axes.set_ylabel(literal(name))
    figure.suptitle(literal(title), fontsize="medium")
    write_figure(figure, path)
