"""The command that searches: its files, its table, and the lines it ends with where it cannot run."""

from __future__ import annotations

import csv
import shlex
import sys
from pathlib import Path

import pytest

from upscale_onnx.cli.main import main
from upscale_onnx.measures.accuracy import evaluate

ROOT = Path(__file__).resolve().parents[2]
MODEL, DATA = str(ROOT / "models" / "digits_cnet_masked.onnx"), str(ROOT / "models" / "digits_test.npz")


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["trial"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search with two objectives."""
    pytest.importorskip("optuna")
    pytest.importorskip("matplotlib")
    found = tmp_path_factory.mktemp("search") / "out"
    words = ["--data", DATA, "--limit", "300", "--out", str(found), "--trials", "20", "--strategy", "random"]
    assert main(["search", MODEL, *words, "--judge", DATA, "--objective", "accuracy,macs", "-q"]) == 0
    return found


def test_all_trials_and_the_front_are_written(folder: Path) -> None:
    trials, front = rows(folder / "results.csv"), rows(folder / "front.csv")
    assert [row["trial"] for row in trials.values()] == [str(number) for number in range(20)]
    assert {row["source"].split()[0] for row in trials.values()} == {
        "descent", "equal", "increasing", "decreasing", "global", "random",
    }  # fmt: skip
    best = [name for name, row in front.items() if row["front"] == "True"]
    assert best == [f"{int(name):03d}" for name in best]
    assert {name for name, row in trials.items() if row["front"] == "True"} == {str(int(name)) for name in best}
    for row in trials.values():
        for name in best:
            other = front[name]
            worse = float(other["accuracy"]) <= float(row["accuracy"]) and float(other["macs"]) >= float(row["macs"])
            equal = (other["accuracy"], other["macs"]) == (row["accuracy"], row["macs"])
            assert row["state"] == "stopped" or equal or not worse
    assert front["unpruned"]["macs"] == "1.0"
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
    assert "are on the front" in (folder / "report.html").read_text(encoding="utf-8")
    assert {path.stem for path in (folder / "profiles").iterdir()} == set(best)


def test_a_command_makes_the_model_that_was_measured(folder: Path) -> None:
    front = rows(folder / "front.csv")
    lines = (folder / "commands.txt").read_text().splitlines()
    assert len(lines) == sum(row["front"] == "True" for row in front.values())
    for line in (lines[0], lines[-1]):
        words = shlex.split(line)
        assert words[0] == "upscale-onnx"
        assert main([*words[1:], "-q"]) == 0
        own = front[Path(words[2]).stem]
        assert evaluate(words[2], DATA).top1 == float(own["judged"])
        assert evaluate(words[2], DATA, limit=300).top1 == pytest.approx(float(own["accuracy"]))


def test_profiles_are_trained(tmp_path: Path) -> None:
    """A profile is worth what its model is after a training, and the commands repeat that training."""
    pytest.importorskip("optuna")
    pytest.importorskip("torch")
    words = ["--data", DATA, "--limit", "100", "--judge", DATA, "--trials", "1", "--compression", "4"]
    trained = ["--finetune", "3", "--train", DATA, "--rate", "0.01"]
    assert main(["search", MODEL, *words, *trained, "--out", str(tmp_path), "-q"]) == 0
    (found,) = (row for row in rows(tmp_path / "front.csv").values() if row["front"] == "True")
    (line,) = (tmp_path / "commands.txt").read_text().splitlines()
    made = [shlex.split(part) for part in line.split(" && ")]
    assert [main([*part[1:], "-q"]) for part in made] == [0, 0]
    before, after = (
        evaluate(str(tmp_path / "profiles" / name), DATA).top1 for name in ("000.onnx", "000-trained.onnx")
    )
    assert after == float(found["judged"]) > before


def test_starting_again_adds_the_trials_that_are_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = rows(folder / "results.csv")
    words = ["--data", DATA, "--limit", "300", "--out", str(folder), "--trials", "22", "--strategy", "random"]
    assert main(["search", MODEL, *words, "--objective", "accuracy,macs"]) == 0
    after = rows(folder / "results.csv")
    assert len(after) == 22
    assert all(after[name]["accuracy"] == row["accuracy"] for name, row in before.items())
    said = capsys.readouterr().out
    assert "search.unpruned" in said
    assert said.split()[:2] == ["search.trials", "22"]
    code = main(["search", MODEL, *words, "--objective", "accuracy,params"])
    assert code == 2
    assert "holds a search of another objective" in capsys.readouterr().err


def test_masks_chosen_at_random_are_in_the_command(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    words = ["--data", DATA, "--limit", "200", "--out", str(tmp_path / "o"), "--trials", "6", "--choice", "exact"]
    assert main(["search", MODEL, *words, "--constrain", "macs<=0.4", "-q"]) == 0
    line = shlex.split((tmp_path / "o" / "commands.txt").read_text().splitlines()[0])
    assert main([*line[1:], "-q"]) == 0
    own = rows(tmp_path / "o" / "front.csv")[Path(line[2]).stem]
    assert float(own["macs"]) <= 0.4
    assert evaluate(line[2], DATA, limit=200).top1 == pytest.approx(float(own["accuracy"]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "needs something to measure on"),
        (f"--data {DATA} --finetune 2", "--finetune and --train go together"),
        (f"--data {DATA} --strategy tep", "no strategy called 'tep'"),
        (f"--data {DATA} --constrain latency>=2", "by <= only"),
        (f"--data {DATA} --objective speed", "no objective called 'speed'"),
        (f"--data {DATA} --constrain distance<=0.1", "distance is measured without labels"),
        (f"--calibration {DATA} --constrain accuracy>=0.9", "a constraint of accuracy needs labelled data"),
        (f"--calibration {DATA} --judge {DATA}", "--judge needs --data"),
        (f"--data {DATA} --workers 2 --address auto", "leave it out with --address"),
    ],
)
def test_what_cannot_be_searched(words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    assert main(["search", MODEL, "--out", str(tmp_path / "out"), *words.split()]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_missing_libraries_are_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("upscale_onnx.searching") or name == "optuna"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["search", MODEL, "--out", str(tmp_path / "out"), "--data", DATA]) == 2
    assert "a search needs optuna: pip install 'upscale-onnx[search]'" in capsys.readouterr().err
