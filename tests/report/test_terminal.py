"""What a terminal shows: within its width, in colour only where wanted, with nothing that a name could do to it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from upscale_onnx.report.terminal import differences_view, left_alone, network_view, outcome_view
from upscale_onnx.results import Demand, Picture, Reading, Report
from upscale_onnx.results.differences import Differences, NodeChange

PICTURE = Picture(
    9,
    (),
    (Reading("a", 0, 64, 40, ((0, 40),), (Demand("left", "Conv", 32, ((0, 32),)), Demand("r\x1b[2J", "Conv", 8, ()))),),
)


def shown(drawn: RenderableType, width: int) -> list[str]:
    """The lines of what a console of `width` columns prints."""
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(drawn)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_an_outcome_fits(report: Report, width: int) -> None:
    lines = shown(outcome_view(report), width)
    assert max(map(len, lines)) <= width
    words = [line.split() for line in lines]
    assert ["parameters", "11.7", "M", "7.00", "M", "-40", "%"] in words
    assert ["latency", "14.8", "ms", "11.0", "ms", "-26", "%"] in words
    text = " ".join(" ".join(line) for line in words)
    assert text.startswith("1.35x faster, 40 % fewer parameters, same outputs")
    assert "5 nodes left alone; 0 channels stay because of them" in text
    assert " next " in text


def test_notes_say_what_to_try(report: Report) -> None:
    lines = shown(outcome_view(replace(report, notes=("try A", "and B"))), 80)
    assert "note  and B" in lines
    assert "next  try A" in lines


@pytest.mark.parametrize("width", [60, 100])
def test_a_network_is_a_tree_with_bars(report: Report, width: int) -> None:
    lines = shown(network_view("in.onnx", report.before, report.segments, PICTURE, report.refusals, width), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "segment 0: 40 of 64 channels live, 1 fork, 1 join" in text
    assert "\x1b" not in text
    bars = [line.count("\u2588") for line in lines if "of 64" in line and "segment" not in line]
    assert bars == [6, 5, 1]


def test_what_is_left_alone_is_counted(report: Report) -> None:
    one = replace(report.refusals[0], channels=1)
    assert left_alone([one]) == "1 node left alone; 1 channel stays because of it"


def test_differences_are_one_a_line() -> None:
    changes = (
        NodeChange("conv", "Conv", "changed", ("N", 48, 8, 8), ("N", 32, 8, 8), 480, 320),
        NodeChange("next", "Conv", "changed", ("N", 8), ("N", 8), 90, 60),
        NodeChange("cut\x1b", "Slice", "added", None, ("N", 8), 0, 3),
        NodeChange("flat", "Reshape", "changed", ("N", 8), (8,)),
    )
    lines = [" ".join(line.split()) for line in shown(differences_view(Differences(changes, 3)), 60)]
    assert "conv Conv 48 > 32 480 > 320" in lines
    assert "next Conv as before 90 > 60" in lines
    assert "cut\\x1b Slice added 0 > 3" in lines
    assert "flat Reshape other axes 0" in lines
    assert "4 nodes differ, 3 are the same" in lines
    assert shown(differences_view(Differences((), 3)), 60) == ["0 nodes differ, 3 are the same"]
