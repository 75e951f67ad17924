"""The accuracy benchmark: what it measures, keeps and says."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "digits_cnet_masked.onnx"
IMAGES = 120


@pytest.fixture
def accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The script's main function, in a working directory that holds data.npz: digits and their labels."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "programs"))
    monkeypatch.chdir(tmp_path)
    with np.load(ROOT / "models" / "digits_test.npz") as digits:
        x = digits["image"].transpose(0, 2, 3, 1)[: 2 * IMAGES]
        y = digits["labels"][: 2 * IMAGES]
    np.savez("data.npz", x=x, y=y)
    import accuracy  # type: ignore[import-not-found, unused-ignore]

    return lambda *words: accuracy.main([*map(str, words)])


def measure(accuracy: Callable[..., int], command: str, *words: str) -> int:
    return accuracy(command, MODEL, "--train", "data.npz", "--test", "data.npz", "--calibrate", 64, *words)


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: str, content: list[dict[str, str]]) -> None:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, content[0])
        writer.writeheader()
        writer.writerows(content)


def test_grid_keeps_what_it_has_and_adds_what_it_lacks(
    accuracy: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--criteria", "l2", "--sides", "input", "--repairs", "none", "stats")
    words += ("--methods", "unconstrained", "constrained", "--out", "g.csv")
    assert measure(accuracy, "grid", *words, "--amounts", "0.7") == 0
    first = rows("g.csv")
    assert [(row["method"], row["repair"], row["amount"]) for row in first] == [
        ("unpruned", "none", "0.0"),
        ("unconstrained", "none", "0.7"),
        ("unconstrained", "stats", "0.7"),
        ("constrained", "none", "0.7"),
        ("constrained", "stats", "0.7"),
    ]
    top1 = {(row["method"], row["repair"]): float(row["top1"]) for row in first}
    assert top1["unpruned", "none"] > 90
    assert top1["unconstrained", "none"] < top1["unconstrained", "stats"] <= top1["unpruned", "none"]
    written = Path("g.csv").stat().st_mtime_ns
    assert measure(accuracy, "grid", *words, "--amounts", "0.7") == 0
    assert Path("g.csv").stat().st_mtime_ns == written
    capsys.readouterr()
    assert measure(accuracy, "grid", *words, "--amounts", "0.7", "0.1") == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert rows("g.csv")[: len(first)] == first
    assert len(rows("g.csv")) == 9
    assert accuracy("tables", "--grid", "g.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    cells = f"{top1['unpruned', 'none']:.1f} | {float(rows('g.csv')[5]['top1']):.1f} | "
    assert any(
        line.startswith(f"| {MODEL.stem} | l2 | input | local | none | flat | unconstrained | {cells}")
        for line in lines
    )
    gain = top1["unconstrained", "none"] - top1["constrained", "none"]
    assert any(line.endswith(f" {gain:+.1f} |") for line in lines)


def test_scopes_are_cases_of_their_own(accuracy: Callable[..., int]) -> None:
    words = ("--criteria", "l2", "--sides", "input", "--methods", "unconstrained", "--repairs", "none")
    words += ("--scopes", "local", "global", "--amounts", "0.7", "--out", "g.csv")
    assert measure(accuracy, "grid", *words) == 0
    assert [row["scope"] for row in rows("g.csv")] == ["none", "local", "global"]
    assert rows("g.csv")[1]["top1"] != rows("g.csv")[2]["top1"]


def test_cases_that_a_network_does_not_have_are_left_out_and_said(
    accuracy: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--criteria", "obs", "--sides", "output", "--methods", "unconstrained", "--repairs", "none")
    assert measure(accuracy, "grid", *words, "--out", "g.csv", "--amounts", "0.1", "0.2") == 0
    assert "left out 2 times: digits_cnet_masked, obs, output, unconstrained: " in capsys.readouterr().err
    assert [row["method"] for row in rows("g.csv")] == ["unpruned"]
    Path("other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert measure(accuracy, "grid", *words, "--out", "other.csv") == 2
    assert "other.csv: has other columns" in capsys.readouterr().err
    assert Path("other.csv").read_text(encoding="utf-8") == "a,b\n1,2\n"


@pytest.mark.usefixtures("short_races")
def test_latency_is_a_share_of_the_unpruned_network(
    accuracy: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--criteria", "l2", "--repairs", "none", "--methods", "unconstrained", "constrained", "--amounts", "0.6")
    words += ("--budget", "0.1", "--batch", "4", "--out", "r.csv")
    assert measure(accuracy, "latency", *words) == 0
    unpruned, *pruned = rows("r.csv")
    assert (unpruned["method"], unpruned["ratio"], unpruned["batch"]) == ("unpruned", "1.0000", "4")
    assert [row["method"] for row in pruned] == ["unconstrained", "constrained"]
    for row in pruned:
        assert row["export"] != "input"
        assert 0 < float(row["ratio_low"]) <= float(row["ratio"]) <= float(row["ratio_high"])
    calm = [{**row, "ratio_low": row["ratio"], "ratio_high": row["ratio"]} for row in (unpruned, *pruned)]
    write("r.csv", calm)
    assert measure(accuracy, "latency", *words) == 0
    assert rows("r.csv") == calm
    write("r.csv", [*calm[:-1], {**calm[-1], "ratio_high": "100", "top1": "-1"}])
    capsys.readouterr()
    assert measure(accuracy, "latency", *words) == 0
    assert "1 ratios were disturbed" in capsys.readouterr().out
    assert rows("r.csv")[:-1] == calm[:-1]
    assert rows("r.csv")[-1]["top1"] == calm[-1]["top1"]
    measured = [("1.0", "90"), ("0.7", "80"), ("0.6", "75")]  # what a race would say is another matter
    write("r.csv", [{**row, "ratio": ratio, "top1": top1} for row, (ratio, top1) in zip(calm, measured, strict=True)])
    assert accuracy("tables", "--latency", "r.csv") == 0
    assert "| network | criterion | side | scope | repair | latency | unconstrained | constrained | gain |" in (
        capsys.readouterr().out
    )


def test_accuracy_between_measured_latencies(accuracy: Callable[..., int]) -> None:
    from accuracy_tables import by_latency, frontier, interpolated  # type: ignore[import-not-found, unused-ignore]

    # (0.9, 60) is slower than (0.8, 70) and worse: pruning more was both faster and better.
    points = [(1.0, 90.0), (0.9, 60.0), (0.8, 70.0), (0.5, 40.0), (0.5, 30.0), (1.1, 80.0)]
    assert frontier(points) == [(0.5, 40.0), (0.8, 70.0), (1.0, 90.0)]
    assert interpolated(points, 0.5) == 40
    assert interpolated(points, 0.6) == pytest.approx(50)
    assert interpolated(points, 0.9) == pytest.approx(80)
    assert interpolated(points, 1.2) == 90
    assert interpolated(points, 0.49) is None
    same = {"network": "n", "criterion": "l2", "side": "input", "scope": "local", "repair": "none", "masks": "flat"}
    measured = [("unpruned", 1.0, 90), ("unconstrained", 0.6, 50), ("constrained", 0.5, 40), ("hybrid", 0.7, 80)]
    raced = [
        {**same, "method": method, "top1": str(top1)} | dict.fromkeys(("ratio", "ratio_low", "ratio_high"), str(ratio))
        for method, ratio, top1 in measured
    ]
    noise = {"ratio": "0.5", "ratio_low": "0.4", "ratio_high": "0.6", "top1": "99"}
    raced.append({**same, "method": "hybrid", **noise})
    lines = by_latency(raced, shares=(0.8, 0.65, 0.55)).splitlines()
    assert lines[-2:] == [
        "| n | l2 | input | local | none | 0.80 | 70.0 | 70.0 | 83.3 | +0.0 |",
        "| n | l2 | input | local | none | 0.65 | 55.0 | 55.0 |  | +0.0 |",
    ]
