"""Plots of rewards and of trainings by reinforcement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from upscale_onnx.errors import ArgumentError
from upscale_onnx.reinforce.landscapes import ashok_landscape, gaussian_landscape
from upscale_onnx.report.landscape import Panel, write_landscapes
from upscale_onnx.report.training_curve import write_training_curve

ROWS = [
    {"seconds": 3600.0, "reward_mean": 0.2, "reward_min": 0.1, "reward_max": 0.6},
    {"seconds": 7200.0, "reward_mean": 0.4, "reward_min": 0.3, "reward_max": 0.8},
]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are written."""
    from matplotlib.figure import Figure

    found: list[Any] = []
    save = Figure.savefig

    def kept(figure: Any, *arguments: Any, **named: Any) -> None:
        found.append(figure)
        save(figure, *arguments, **named)

    monkeypatch.setattr(Figure, "savefig", kept)
    return found


def test_a_training_is_a_line_in_a_band(tmp_path: Path, figures: list[Any]) -> None:
    write_training_curve(ROWS, ["reward"], "CF 4", tmp_path / "curve.png")
    (axes,) = figures[0].axes
    assert axes.lines[0].get_xydata().tolist() == [[1.0, 0.2], [2.0, 0.4]]
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.1, 0.8)
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_landscapes_are_panels(tmp_path: Path, figures: list[Any]) -> None:
    panels = [
        Panel(one.title, one.compression, one.accuracies, one.compressions, one.rewards)
        for one in (gaussian_landscape(points=11), ashok_landscape(points=11))
    ]
    write_landscapes(panels, tmp_path / "rewards.svg")
    titles = [axes.get_title() for axes in figures[0].axes if axes.get_title()]
    assert titles == ["Gaussian reward", "Reward of Ashok et al."]
    with pytest.raises(ArgumentError, match="choose a name"):
        write_landscapes(panels, tmp_path / "rewards.txt")
