"""Pages: one HTML file that holds what the JSON holds, and nothing that a browser would run or fetch."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from upscale_onnx.errors import ArgumentError, InternalError
from upscale_onnx.report import numbers
from upscale_onnx.report.headline import headline, next_step, outcome
from upscale_onnx.report.json import dump_json
from upscale_onnx.results import (
    Bench,
    Decision,
    Demand,
    ModelStats,
    OperatorTotal,
    Origin,
    Picture,
    PruningEffect,
    Reading,
    Report,
    TimeProfile,
    Track,
)

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from upscale_onnx.report.page.strips import COLOURS, before_and_after
from upscale_onnx.report.page.write import page_html, write_page

HOSTILE = "<script>alert(1)</script>\"'{{7*7}}$x_1$&amp;"


@pytest.fixture
def full(report: Report) -> Report:
    """A report with everything that a page shows."""
    assert report.race is not None
    timings = tuple(
        replace(t, ratio_low=0.9 * t.ratio, ratio_high=1.1 * t.ratio, round_ms=(t.median_ms,) * 3)
        for t in report.race.timings
    )
    readings = (
        Reading(
            "r", 0, 64, 50, ((0, 50),), (Demand("left", "Conv", 45, ((0, 45),)),), 48, ((5, 40), (0, 5), (60, 3)), 3
        ),
        Reading("new", 1, 4, 4, ((0, 4),), (Demand("right", "Conv", 4, ((0, 4),)),)),
    )
    profiles = tuple(
        TimeProfile(name, (OperatorTotal("Conv", 20, ms), OperatorTotal("Relu", 17, 0.25)), "cpu", 1)
        for name, ms in (("input", 12.5), ("upscale", 9.25))
    )
    return replace(
        report,
        race=replace(report.race, timings=timings),
        picture=Picture(30, (Track(0, (1,), (4, 9), (3,), (12,)), Track(1, (5,), (), (), ())), readings),
        profiles=profiles,
        decisions=(Decision("r", 0, 64, ("left",), (45,), 1.5, None, ("keep",), taken_back=True),),
        effect=PruningEffect("random inputs", 4, 0.25),
        origin=Origin("python -m upscale_onnx a b", {"onnx": "1.21"}, {"cores": 2}, "2026-01-01T00:00:00+00:00"),
        bound_ratio=0.6,
        notes=("try this",),
    )


class _Data(HTMLParser):
    """Collects (path, exact value, shown text) of every number, and the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[list[str]] = []
        self.tags: set[str] = set()
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "data":
            known = dict(attrs)
            self.found.append([str(known["data-path"]), str(known["value"]), ""])
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "data"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1][2] += data


def read(html: str) -> _Data:
    """The numbers and tags of a page."""
    parser = _Data()
    parser.feed(html)
    return parser


def at(content: Any, path: str) -> Any:
    """What a JSON value holds at a path."""
    for part in path.split("."):
        content = content[int(part)] if isinstance(content, list) else content[part]
    return content


def test_every_number_is_that_of_the_json(full: Report) -> None:
    content = json.loads(dump_json(full))
    found = read(page_html(full)).found
    for path, value, _ in found:
        assert float(value) == at(content, path), path
    shown = {path: text for path, _, text in found}
    assert shown["before.parameters"] == "11.7 M"
    assert shown["after.bytes"] == "28.1 MB"
    assert shown["race.timings.1.median_ms"] == "11.0 ms"
    assert shown["picture.readings.0.held"] == "48"
    assert shown["verification.outputs.0.max_absolute"] == "1.19e-07"


def test_the_page_shows_each_part(full: Report) -> None:
    html = page_html(full)
    for text in ("taken back", "try this", "python -m upscale_onnx a b", "operator of another domain", "padding"):
        assert text in html, text
    assert html.count("<svg") == 3
    assert "1.35\u00d7 faster (95\u00a0% 1.22\u20131.49), 40\u00a0% fewer parameters" in html


def test_names_are_escaped_and_nothing_runs(full: Report) -> None:
    assert full.picture is not None
    readings = tuple(
        replace(r, value=HOSTILE, demands=tuple(replace(d, node=HOSTILE) for d in r.demands))
        for r in full.picture.readings
    )
    segments = tuple(
        replace(s, forks=(HOSTILE,), joins=(HOSTILE,), producers=tuple(replace(p, node=HOSTILE) for p in s.producers))
        for s in full.segments
    )
    profiles = tuple(
        replace(p, operators=tuple(replace(o, op_type=f"{HOSTILE}{o.op_type}") for o in p.operators))
        for p in full.profiles
    )
    refusals = tuple(replace(r, node=HOSTILE, op_type=HOSTILE, detail=HOSTILE) for r in full.refusals)
    hostile = replace(
        full, picture=replace(full.picture, readings=readings), segments=segments, refusals=refusals, profiles=profiles,
        notes=(HOSTILE,),
    )  # fmt: skip
    html = page_html(hostile)
    assert "<script" not in html
    assert "{{7*7}}" in html
    assert not re.search(r"\b(?:src|href)=\"(?!data:|#)", re.sub(r'xmlns(?::\w+)?="[^"]*"', "", html))
    assert "script" not in read(html).tags
    assert "default-src 'none'" in html


def test_the_same_report_gives_the_same_bytes(full: Report) -> None:
    assert page_html(full) == page_html(replace(full))


def test_what_was_not_done_is_left_out(report: Report) -> None:
    html = page_html(replace(report, verification=None, race=None, refusals=()))
    assert "not compared" in html
    assert 'id="latency"' not in html
    assert "<svg" not in html


def test_a_bench_is_a_page(full: Report) -> None:
    assert full.race is not None
    bench = Bench({"device": "a machine"}, (full.race, replace(full.race, threads=2)), full.profiles, ("c: left out",))
    html = page_html(bench)
    assert "upscale is 1.35\u00d7 faster" in html
    assert html.count("<svg") == 3
    assert "c: left out" in html
    for path, value, _ in read(html).found:
        assert float(value) == at(json.loads(dump_json(bench)), path), path


def test_strips_show_what_is_read_removed_and_padded() -> None:
    from matplotlib.image import imread

    reading = {"channels": 6, "live_runs": [[0, 4]], "held_runs": [[2, 2], [0, 1], [5, 1], [-1, 1]]}
    pictures = before_and_after(reading, {"runs": [[0, 1], [2, 2]]})
    rows = []
    for picture in pictures:
        assert picture is not None
        pixels = imread(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
        names = {tuple(colour): name for name, colour in COLOURS.items()}
        rows.append([names[tuple(round(255 * float(c)) for c in pixel)] for pixel in pixels[0]])
    assert rows == [
        ["demanded", "others", "demanded", "demanded", "dead", "dead"],
        ["demanded", "demanded", "demanded", "padding", "padding"],
    ]


def test_a_page_has_its_own_ending_and_kinds(tmp_path: Path, report: Report) -> None:
    with pytest.raises(ArgumentError, match=r"ends in \.html"):
        write_page(report, tmp_path / "r.pdf")
    with pytest.raises(InternalError, match="no page can be made of modelstats"):
        page_html(ModelStats(1, 2, 3, 4))
    assert list(tmp_path.iterdir()) == []


def test_headlines(full: Report) -> None:
    assert headline(full) == "1.35x faster (95 % 1.22-1.49), 40 % fewer parameters, same outputs as the pruned model"
    plain = replace(full, race=None, verification=None, effect=None)
    assert headline(plain) == "40 % fewer parameters, outputs not compared"
    assert headline(replace(full, export="input")).startswith("Nothing removed")
    assert next_step(full) == "try this"
    assert "--no-race" in next_step(replace(plain, notes=(), refusals=()))


def test_the_outcome_is_a_table_of_five_rows(full: Report) -> None:
    rows = {row.what: row for row in outcome(replace(full, effect=None))}
    assert list(rows) == ["file size", "parameters", "MACs", "latency", "exactness"]
    assert (rows["MACs"].before, rows["MACs"].after, rows["MACs"].change) == ("1.81 G", "1.10 G", "-39 %")
    assert rows["latency"].change == "-26 %"
    assert rows["exactness"].change == "same outputs"


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (numbers.count, 0, "0"), (numbers.count, 9999, "9,999"), (numbers.count, 999_999, "1.00 M"),
        (numbers.size, 512, "512 B"), (numbers.size, 46_800_000, "46.8 MB"),
        (numbers.milliseconds, 0.0123, "0.0123 ms"),
        (numbers.percent, 0.311, "31 %"), (numbers.percent, 0.004, "0.4 %"), (numbers.change, 1.05, "+5.0 %"),
        (numbers.change, 1.0, "0 %"), (numbers.significant, float("inf"), "inf"), (numbers.significant, 1e-9, "1e-09"),
        (numbers.significant, 123456.0, "1.23e+05"),
    ],
)  # fmt: skip
def test_numbers_as_text(form: Any, value: float, text: str) -> None:
    assert form(value) == text


@pytest.mark.parametrize(("segments", "most"), [(60, 500_000), (1_000, 2_000_000)])
def test_the_page_of_a_large_network_is_small(full: Report, segments: int, most: int) -> None:
    scattered = tuple(
        (first, 2) for first in range(0, 1200, 3 * max(1, segments // 60))
    )  # DenseNet-201 has 200 such values
    name = "n" * 400
    demands = (Demand(name, "Conv", 800, scattered),)
    large = replace(
        full,
        segments=tuple(replace(full.segments[0], index=index) for index in range(segments)),
        refusals=tuple(replace(full.refusals[0], node=name) for _ in range(segments)),
        decisions=full.decisions * segments,
        picture=Picture(
            3 * segments,
            tuple(Track(i, (3 * i,), (3 * i + 2,), (3 * i,), ()) for i in range(segments)),
            tuple(Reading(name, i, 1200, 800, scattered, demands, 800, scattered, 0) for i in range(segments)),
        ),
    )
    html = page_html(large)
    assert len(html.encode()) < most
    assert (f"{segments - 400} more are in the JSON" in html) == (segments > 400)


def test_long_names_are_cut(full: Report) -> None:
    refusals = (replace(full.refusals[0], node="n" * 100_000),)
    assert len(page_html(replace(full, refusals=refusals))) < 100_000
