"""The command that repeats figures: its files, and the lines it ends with where it cannot run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from upscale_onnx.cli.main import main
from upscale_onnx.files.locks import alone_in

ROOT = Path(__file__).resolve().parents[2]
MODEL, DATA = str(ROOT / "models" / "digits_cnet_masked.onnx"), str(ROOT / "models" / "digits_test.npz")
SMALL = ("--compressions", "4", "--draws", "1", "--limit", "50")


def test_files_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    words = ["experiment", "figure3", "--set", DATA, MODEL, *SMALL, "--out", str(tmp_path / "out")]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["family"] for row in rows] == ["equal", "increasing:0.4", "decreasing:0.4"]
    for row in rows:
        assert float(row["reached"]) == pytest.approx(4.0, rel=0.1)
        assert f"accuracy {float(row['accuracy']):g}" in shown.out
    assert (tmp_path / "out" / "figure3.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "out" / "summary.csv").read_text().splitlines()) == 4
    assert main([*words, "--seed", "1"]) == 2
    assert "holds an experiment with another seed" in capsys.readouterr().err


def test_workers_measure_the_same(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        words = ["experiment", "figure3", "--set", DATA, MODEL, *SMALL, "-q", "--workers", workers]
        assert main([*words, "--out", str(tmp_path / workers)]) == 0
    one, two = ((tmp_path / workers / "results.csv").read_bytes() for workers in ("1", "2"))
    assert one == two


def test_two_commands_do_not_write_to_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fcntl")
    words = ["experiment", "figure3", "--set", DATA, MODEL, *SMALL, "-q", "--out", str(tmp_path)]
    with alone_in(tmp_path):
        assert main(words) == 2
    assert f"{tmp_path}: another process writes there: wait until it ends" in capsys.readouterr().err
    assert not (tmp_path / "results.csv").exists()
    assert main(words) == 0


def test_channels_by_scores_of_training_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    words = ["--train", DATA, "--calibrate", "16", "--repair", "stats", "--out", str(tmp_path)]
    assert main(["experiment", "figure2", "--set", DATA, MODEL, *SMALL, *words]) == 0
    assert "equal, taylor" in capsys.readouterr().out


def test_where_training_begins(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    words = ["--train", DATA, "--epochs", "1", "--images", "128", "--out", str(tmp_path), "-q"]
    assert main(["experiment", "figure1", "--set", DATA, MODEL, *SMALL, *words]) == 0
    with (tmp_path / "results.csv").open(newline="") as file:
        kept, new = csv.DictReader(file)
    assert (kept["init"], new["init"]) == ("pretrained", "random")
    assert kept["shares"] == new["shares"]
    assert float(kept["accuracy"]) > float(new["accuracy"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["figure3", "--set", DATA], "--set takes labelled images and at least one network"),
        (["figure3", "--set", DATA, MODEL, "--repair", "lsq"], "--repair lsq needs training images"),
        (["figure3", "--set", DATA, MODEL, "--train", DATA, "--train", DATA], "2 --train for 1 --set"),
        (["figure4", "--set", DATA, MODEL], "figure4 needs two sets of two networks each"),
        (["figure6", "--set", DATA, MODEL], "figure6 needs profiles to apply"),
        (["figure1", "--set", DATA, MODEL], "this figure compares trainings"),
        (["figure3", "--set", MODEL, DATA], "digits_test.npz"),
        (["figure5", "--set", DATA, MODEL], "invalid choice: 'figure5'"),
    ],
)
def test_what_cannot_be_done(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", *words, *SMALL, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
