"""A plot of an experiment: accuracy by compression, a panel for each network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from upscale_onnx.report.plot import check_plot, literal, write_figure

Points = Sequence[tuple[float, float]]
Band = Sequence[tuple[float, float, float]]


def write_experiment(
    clouds: Mapping[str, Mapping[str, Points]],
    lines: Mapping[str, Mapping[str, Band]],
    path: str | os.PathLike[str],
) -> None:
    """Draw, for each network by name, `clouds` of (compression, accuracy) as dots, and `lines` of (compression, mean
    accuracy, standard deviation), to `path`.

    Raises: ArgumentError if matplotlib is missing or the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    names = list(dict.fromkeys((*clouds, *lines)))
    figure = Figure(figsize=(5.5 * len(names), 4.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, points in clouds.get(name, {}).items():
            axes.plot([x for x, _ in points], [y for _, y in points], ".", alpha=0.4, label=literal(label))
        for label, band in lines.get(name, {}).items():
            x, mean, spread = zip(*sorted(band), strict=True)
            axes.errorbar(x, mean, yerr=spread, marker="o", capsize=2, label=literal(label))
        axes.set_title(literal(name), fontsize="medium")
        axes.set_xlabel("compression")
        axes.set_ylabel("accuracy")
        axes.legend(fontsize="x-small")
    write_figure(figure, path)
