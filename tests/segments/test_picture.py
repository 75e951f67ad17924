"""What a page draws of a network: who demands which channels, and what the compiled model holds."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import parse, weight
from upscale_onnx import pipeline
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import Options
from upscale_onnx.results.picture import Picture, Run
from upscale_onnx.segments import find_segments, picture_of
from upscale_onnx.segments.picture import runs_of

MODEL = parse(
    """(float[1,3,4,4] x) => (float[1,4,4,4] y) {
        a = Conv(x, w1)
        b = Relu(a)
        c = Conv(b, w2)
        d = Conv(b, w3)
        y = Add(c, d)
    }""",
    w1=weight(8, 3, 1, 1),
    w2=weight(4, 8, 1, 1, columns=[0, 1, 2, 4]),
    w3=weight(4, 8, 1, 1, columns=[0, 3, 5, 6]),
)


def channels(runs: tuple[Run, ...]) -> list[int]:
    """The channels in `runs`, in their order."""
    return [first if first < 0 else first + step for first, size in runs for step in range(size)]


def drawn() -> Picture:
    analysis = analyse(import_graph(MODEL), infer_shapes(MODEL))
    return picture_of(analysis, find_segments(analysis))


def test_consumers_demand_what_their_weights_read() -> None:
    picture = drawn()
    assert picture.nodes == 5
    (reading,) = [reading for reading in picture.readings if reading.value == "b"]
    assert (reading.channels, reading.live, channels(reading.live_runs)) == (8, 7, [1, 2, 3, 4, 5, 6, 7])
    assert {d.node: channels(d.runs) for d in reading.demands} == {"c": [3, 5, 6, 7], "d": [1, 2, 4, 7]}
    assert [d.channels for d in reading.demands] == [4, 4]
    assert (reading.held, reading.held_runs, reading.padded) == (None, None, None)


def test_tracks_lie_where_the_nodes_are() -> None:
    first, last = drawn().tracks
    assert (first.producers, first.consumers, first.forks, first.joins) == ((0,), (2, 3), (1,), ())
    assert (last.producers, last.consumers, last.joins) == ((2, 3), (), (4,))


@pytest.mark.parametrize(("export", "align", "held", "padded"), [("upscale", 1, 7, 0), ("keep", 8, 8, 1)])
def test_what_the_compiled_model_holds(export: str, align: int, held: int, padded: int) -> None:
    options = Options.of(export=export, align=align, race=False, provider="cpu")  # type: ignore[arg-type]
    report = pipeline.detailed(pipeline.compile(MODEL, options), options)
    assert report.profiles == ()
    assert report.picture is not None
    (reading,) = [reading for reading in report.picture.readings if reading.value == "b"]
    assert reading.held_runs is not None
    order = channels(reading.held_runs)
    assert (reading.held, reading.padded, len(order)) == (held, padded, held)
    assert {1, 2, 3, 4, 5, 6, 7} <= set(order)
    if export == "upscale":  # the order makes each demand a range, so that a Slice hands it out
        for demand in reading.demands:
            places = [order.index(channel) for channel in channels(demand.runs)]
            assert max(places) - min(places) == len(places) - 1


def test_a_race_comes_with_profiles_and_every_round() -> None:
    options = Options.of(export="auto", provider="cpu")
    report = pipeline.detailed(pipeline.compile(MODEL, options), options)
    assert report.race is not None
    for timing in report.race.timings:
        assert len(timing.round_ms) in range(3, report.race.rounds + 1)
        assert np.isclose(np.median(timing.round_ms), timing.median_ms)
    names = [profile.name for profile in report.profiles]
    assert names == list(dict.fromkeys(["input", report.export]))
    assert all(profile.operators for profile in report.profiles)


def test_segments_and_pictures_are_of_one_model() -> None:
    dense = parse(
        """(float[1,3,4,4] x) => (float[1,4,4,4] y) {
            a = Conv(x, w1)
            b = Relu(a)
            y = Conv(b, w2)
        }""",
        w1=weight(16, 3, 1, 1),
        w2=weight(4, 16, 1, 1),
    )
    options = Options.of(amount=0.6, export="keep", align=8, race=False, verify=False, provider="cpu")
    report = pipeline.detailed(pipeline.compile(dense, options), options)
    assert report.picture is not None
    for reading in report.picture.readings:
        assert reading.live == next(s.live for s in report.segments if s.index == reading.segment) == 8


@pytest.mark.parametrize(
    ("numbers", "runs"),
    [
        ([], ()), ([4], ((4, 1),)), ([1, 2, 3], ((1, 3),)), ([3, 2, 1], ((3, 1), (2, 1), (1, 1))),
        ([-1, -1, 0, 1, -1], ((-1, 2), (0, 2), (-1, 1))), ([0, -1, 0], ((0, 1), (-1, 1), (0, 1))),
    ],
)  # fmt: skip
def test_runs(numbers: list[int], runs: tuple[Run, ...]) -> None:
    assert runs_of(np.array(numbers, np.int64)) == runs
    assert channels(runs) == numbers
