"""Callbacks are told of each finished trial; names that cannot be used end in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError
from upscale_onnx.searching.callbacks import Callbacks
from upscale_onnx.searching.engine import Search, work

ROOT = Path(__file__).resolve().parents[2]
MODEL, DATA = str(ROOT / "models" / "digits_cnet_masked.onnx"), str(ROOT / "models" / "digits_test.npz")
MODULE = """
import json


def note(study, trial):
    line = {"number": trial.number, "values": trial.values, "of": len(study.trials)}
    line["source"] = trial.user_attrs["source"]
    with open("told.jsonl", "a") as file:
        print(json.dumps(line), file=file)


class Breaks:
    def __call__(self, study, trial):
        if trial.number == 2:
            raise RuntimeError("no\\nserver")


word = "no function"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the module `mine_of_callbacks`, which holds callbacks."""
    (tmp_path / "mine_of_callbacks.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_each_trial_is_told_once_and_whole(folder: Path, search: Callable[..., Search]) -> None:
    made = search("random", 6, callbacks=("mine_of_callbacks:note",))
    study = made.open()
    work(made, study)
    study.close()
    told = [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]
    assert [one["number"] for one in told] == list(range(6))
    assert [one["of"] for one in told] == [1, 2, 3, 4, 5, 6]
    study.update()
    known = {trial.number: trial for trial in study.history.finished}
    for one in told:
        measured = known[one["number"]].measured
        assert measured is not None
        assert one["values"] == made.goals.values(measured)
        assert one["source"] == known[one["number"]].proposal.source


def test_a_callback_that_fails_loses_no_trial(folder: Path, search: Callable[..., Search]) -> None:
    made = search("random", 6, callbacks=("mine_of_callbacks:Breaks",))
    study = made.open()
    with pytest.raises(ArgumentError, match="Breaks failed on trial 2: RuntimeError: no server"):
        work(made, study)
    study.update()
    assert [trial.number for trial in study.history.finished] == [0, 1, 2]
    work(made, study)
    study.close()
    assert len(study.history.finished) == 6


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mlflow", "'mlflow' is not MODULE:NAME"),
        (":note", "is not MODULE:NAME"),
        ("no_such_module_here:note", "cannot be used: ModuleNotFoundError"),
        ("mine_of_callbacks:nota", "cannot be used: AttributeError"),
        ("mine_of_callbacks:word", "is no function of a study and a trial"),
    ],
)
def test_names_that_cannot_be_used(name: str, told: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArgumentError, match=told):
        Callbacks((name,))
    assert main(["search", MODEL, "--data", DATA, "--out", "out", "--callback", name]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (folder / "out").exists()
