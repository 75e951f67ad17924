"""The latency benchmark: what it measures, keeps and says."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "docs" / "programs"
MODEL = ROOT / "models" / "digits_cnet_masked.onnx"


@pytest.fixture
def latency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The script's main function, given short races, in an empty working directory."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)
    import latency  # type: ignore[import-not-found, unused-ignore]

    return lambda *words: latency.main(["--budget", "0.1", *map(str, words)])


def test_races_are_recorded_and_not_repeated(
    latency: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--models", MODEL, "--amounts", "0.5", "--onnxsim-python", sys.executable, "--no-auto", "--verify")
    assert latency(*words, "--batch", "2", "--out", "l.json", "--markdown", "l.md") == 0
    first = json.loads((tmp_path / "l.json").read_text())
    (row,) = first["results"]
    assert (row["network"], row["amount"], row["batch"], row["threads"]) == (MODEL.stem, 0.5, 2, 1)
    assert next(iter(row["runners"])) == "input"
    assert {"keep", "upscale", "gather", "constrained"} <= set(row["runners"])
    assert row["skipped"] == {"onnxsim": "ModuleNotFoundError: No module named 'onnxsim'"}
    for name, timing in row["runners"].items():
        assert 0 < timing["p10_ms"] <= timing["median_ms"] <= timing["p90_ms"]
        assert timing["ratio_low"] <= timing["ratio"] <= timing["ratio_high"]
        assert name == "input" or timing["macs"] < row["runners"]["input"]["macs"]
    assert first["machine"]["cores"] == os.cpu_count()
    assert str(ROOT) not in json.dumps(first)
    assert f"| {MODEL.stem} |" in (tmp_path / "l.md").read_text()

    capsys.readouterr()
    assert latency(*words, "--batch", "2,1", "--out", "l.json") == 0
    second = json.loads((tmp_path / "l.json").read_text())
    assert second["results"][0] == row
    assert [r["batch"] for r in second["results"]] == [2, 1]
    assert len(second["commands"]) == 2
    assert "geometric mean" in capsys.readouterr().out

    second["machine"]["cpu"] = "another"
    (tmp_path / "l.json").write_text(json.dumps(second))
    assert latency(*words, "--out", "l.json") == 2
    assert "l.json: holds results of another machine" in capsys.readouterr().err
    assert json.loads((tmp_path / "l.json").read_text()) == second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("none.onnx",), "none.onnx"),
        ((".",), "no .onnx file in ."),
        ((MODEL, MODEL), "two models are called digits_cnet_masked"),
        ((MODEL, "--out", "text"), "text: is no file of results"),
    ],
)
def test_what_cannot_be_used_is_said(
    latency: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    (tmp_path / "text").write_text("no JSON")
    assert latency("--models", *words, "--batch", "1", "--amounts", "0.5") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "latency.json").exists()


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that draws the tables."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import tables  # type: ignore[import-not-found, unused-ignore]

    return tables


def _row(network: str, batch: int = 1, bound: float | None = None, **ratios: float) -> dict[str, Any]:
    runners = {name.replace("_", "-"): {"ratio": ratio, "median_ms": 10 * ratio} for name, ratio in ratios.items()}
    setting = {"amount": 0.3, "batch": batch, "threads": 1, "engine": "cpu", "precision": "fp32"}
    return {
        "network": network,
        **setting,
        "bound": bound,
        "runners": {"input": {"ratio": 1, "median_ms": 10}, **runners},
    }


def test_means_are_geometric_and_count_what_is_there(tables: Any) -> None:
    rows = [_row("b", keep=0.9, auto=0.5), _row("a", keep=0.4, auto=0.8), _row("c", keep=0.6)]
    (table,) = tables.tables(rows)
    assert table.title == "30% pruned, batch 1, cpu, fp32, 1 thread"
    assert table.columns == ("network", "input ms", "keep", "auto")
    assert [row[0] for row in table.rows] == ["a", "b", "c", "geometric mean", "of networks"]
    assert table.rows[2] == ("c", 10, 0.6, None)
    assert table.rows[3][2:] == pytest.approx((0.6, 0.4**0.5))
    assert table.rows[4][2:] == (3, 2)


def test_settings_are_kept_apart(tables: Any) -> None:
    found = tables.tables([_row("a", 8, keep=0.5), _row("a", 1, keep=0.7)])
    assert [(t.title.split(", ")[1], t.rows[0][2]) for t in found] == [("batch 1", 0.7), ("batch 8", 0.5)]


def test_peers_are_compared_where_they_can_do_it(tables: Any) -> None:
    rows = [_row("a", auto=0.5, apple_upscale=1.0), _row("b", auto=0.8, apple_upscale=0.4), _row("c", auto=0.1)]
    _, peers = tables.tables(rows)
    ((name, count, typical, least, most),) = peers.rows
    assert (name, count, least, most) == ("apple-upscale", 2, 0.5, 2.0)
    assert typical == pytest.approx(1.0)


def test_the_distance_to_the_bound(tables: Any) -> None:
    rows = [_row("a", bound=0.5, auto=0.54), _row("b", bound=0.5, auto=1.0), _row("c", auto=0.3)]
    rows[0]["runners"]["auto"]["predicted_ms"] = 5.4 * 1.1
    rows[1]["runners"]["auto"]["predicted_ms"] = 5.0
    ratios, limit = tables.tables(rows)
    assert ratios.columns[-1] == "bound"
    assert limit.rows[0][1:] == (2, pytest.approx((1.08 * 2) ** 0.5), 2.0, "1 within 1.1")
    assert limit.rows[1][1:] == (2, pytest.approx(0.3), 0.5, "1 within 0.15")


def test_markdown(tables: Any) -> None:
    text = tables.markdown(tables.tables([_row("a", keep=0.512)]))
    assert text.splitlines() == [
        "### 30% pruned, batch 1, cpu, fp32, 1 thread",
        "",
        "| network | input ms | keep |",
        "| --- | --- | --- |",
        "| a | 10 | 0.51 |",
        "| geometric mean |  | 0.51 |",
    ]
