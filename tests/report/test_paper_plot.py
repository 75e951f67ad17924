"""What the paper's plots show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from upscale_onnx.report.paper_plot import write_latency_plot
from upscale_onnx.results.lines import Line

pytest.importorskip("matplotlib")


def test_the_legend_shows_dashed_lines_dashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **more: drawn.append(figure))
    line = Line("l2, input", (0.1, 0.2), (3.0, 2.0))
    write_latency_plot([(line, line, Line("l2, input", (0.1, 0.2), (1.0, 0.9)))], 4.0, "net", tmp_path / "a.png")
    legend = drawn[0].axes[0].get_legend()
    shown = {text.get_text(): handle for text, handle in zip(legend.texts, legend.legend_handles, strict=True)}
    dashed = shown["baseline exports (dashed)"]
    assert dashed.get_linestyle() == "--"
    assert dashed.get_marker() in ("None", None, "")
    assert shown["l2, input"].get_linestyle() == "-"
    dash, gap = 3.7, 1.6  # of a dashed line, in its widths
    length = legend.handlelength * legend.prop.get_size_in_points()
    assert length >= 3 * (dash + gap) * dashed.get_linewidth()
