"""A plot of a search: what its trials lose against what they save, and the front of the best."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from upscale_onnx.files.publish import NewFiles
from upscale_onnx.report.plot import check_plot, literal, write_figure

Points = Sequence[tuple[float, float]]


def write_front(
    groups: Mapping[str, Points],
    front: Points,
    labels: tuple[str, str],
    path: str | os.PathLike[str],
    files: NewFiles | None = None,
) -> None:
    """Draw points, in a colour for each of `groups`, and a line through the `front`, to `path`.

    labels: of both axes. The file is written now or together with `files`.

    Raises: ArgumentError if matplotlib is missing or the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, points in groups.items():
        axes.plot(*_coordinates(points), ".", alpha=0.5, label=literal(name))
    if front:
        axes.plot(*_coordinates(sorted(front)), "o-", color="black", fillstyle="none", label="front")
    axes.set_xlabel(literal(labels[0]))
    axes.set_ylabel(literal(labels[1]))
    axes.legend(fontsize="x-small")
    write_figure(figure, path, files)


def _coordinates(points: Points) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
