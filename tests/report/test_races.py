"""Races and profiles as rows, CSV and pictures."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.report.bench_rows import bench_tables, profile_table, short_names
from upscale_onnx.report.csv import races_csv, write_csv
from upscale_onnx.report.plot import write_plot
from upscale_onnx.report.rows import race_table
from upscale_onnx.results import Bench, OperatorTotal, Race, TimeProfile, Timing

NAMES = ("in/a.onnx", 'b, "small".onnx')


def _race(batch: int | None, threads: int = 1) -> Race:
    timings = (Timing(NAMES[0], 2.0, 1.9, 2.5, 1.0, 1.0, 1.0), Timing(NAMES[1], 1.5, 1.25, 1.75, 0.75, 0.7, 0.8, 0.1))
    return Race(timings, NAMES[1], "cpu", threads, 12, batch)


def _profiles(batch: int | None) -> tuple[TimeProfile, ...]:
    first = (OperatorTotal("Conv", 3, 1.5), OperatorTotal("Relu", 2, 0.25))
    second = (OperatorTotal("Slice", 4, 0.75), OperatorTotal("Conv", 3, 0.5))
    return TimeProfile(NAMES[0], first, "cpu", 1, batch), TimeProfile(NAMES[1], second, "cpu", 1, batch)


def test_a_race_shows_its_intervals_and_its_batch() -> None:
    table = race_table(_race(8))
    assert table.columns[-3:] == ("ratio", "ratio_low", "ratio_high")
    assert table.rows[1] == (NAMES[1], 1.5, 1.25, 1.75, 0.75, 0.7, 0.8)
    assert table.facts[-1] == ("batch", 8)


def test_a_profile_puts_models_side_by_side() -> None:
    table = profile_table(_profiles(None))
    small = 'b, "small".onnx'
    assert table.columns == ("operator", "a.onnx ms", "a.onnx nodes", f"{small} ms", f"{small} nodes")
    assert table.rows == (
        ("Conv", 1.5, 3, 0.5, 3),
        ("Slice", 0.0, 0, 0.75, 4),
        ("Relu", 0.25, 2, 0.0, 0),
        ("total", 1.75, 5, 1.25, 7),
    )


def test_several_settings_have_tables_of_their_own() -> None:
    bench = Bench({}, (_race(1), _race(8, 2)), (*_profiles(1),))
    assert [(t.name, t.title) for t in bench_tables(bench)] == [
        ("race.batch1.threads1", "Race, batch 1, 1 thread"),
        ("profile.batch1.threads1", "Operators, batch 1, 1 thread"),
        ("race.batch8.threads2", "Race, batch 8, 2 threads"),
    ]
    assert [t.name for t in bench_tables(Bench({}, (_race(None),)))] == ["race"]


def test_names_are_cut_only_where_they_stay_different() -> None:
    assert short_names(["x/a", "y/b"]) == {"x/a": "a", "y/b": "b"}
    assert short_names(["x/a", "y/a"]) == {"x/a": "x/a", "y/a": "y/a"}


def test_csv_holds_everything(tmp_path: Path) -> None:
    races = (_race(None), _race(8, 2))
    rows = list(csv.DictReader(io.StringIO(races_csv(races))))
    assert [row["batch"] for row in rows] == ["", "", "8", "8"]
    assert rows[3] == {
        "runner": NAMES[1],
        "batch": "8",
        "threads": "2",
        "provider": "cpu",
        "rounds": "12",
        "median_ms": "1.5",
        "p10_ms": "1.25",
        "p90_ms": "1.75",
        "ratio": "0.75",
        "ratio_low": "0.7",
        "ratio_high": "0.8",
        "std_ms": "0.1",
    }
    write_csv(races, tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_bytes() == races_csv(races).encode()


def test_a_picture_names_models_and_operators(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    names = ("_first$x$.onnx", "second.onnx")
    timings = tuple(Timing(name, 2.0 - i, 1.9 - i, 2.5 - i, 1.0 - i / 2) for i, name in enumerate(names))
    race = Race(timings, names[1], "cpu", 1, 9)
    profile = TimeProfile(names[0], tuple(OperatorTotal(f"Op{i}", 1, 20.0 - i) for i in range(12)), "cpu", 1)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        write_plot(Bench({"device": "a $5 chip"}, (race,), (profile,)), tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    for shown in ("_first$x$.onnx", "second.onnx", "0.50", "Op7", "others", "a $5 chip", "1 thread"):
        assert shown in text
    assert "Op8" not in text


def test_a_picture_in_an_absent_folder_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ArgumentError, match=r"none.*does not exist"):
        write_plot(Bench({}, (_race(None),)), tmp_path / "none" / "p.png")
