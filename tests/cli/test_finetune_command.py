"""The commands that train: what they write, print and refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import onnx
import pytest

from tests.training.models import chain, samples
from upscale_onnx.cli.main import main

pytest.importorskip("torch")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    onnx.save(chain(), "in.onnx")
    samples(tmp_path / "x.npz")
    samples(tmp_path / "v.npz", 20, seed=1)
    return ["in.onnx", "out.onnx", "--data", "x.npz", "--val", "v.npz", "--epochs", "2", "--batch", "16"]


def test_finetune_writes_a_model_and_a_table(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", *command, "--csv", "e.csv", "--json", "r.json", "--rate-schedule", "cosine"]) == 0
    out = capsys.readouterr().out
    assert "training.2 " in out
    assert "training.kept" in out
    with Path("e.csv").open() as file:
        rows = list(csv.DictReader(file))
    report = json.loads(Path("r.json").read_text())
    assert [row["number"] for row in rows] == ["1", "2"]
    assert [float(row["loss"]) for row in rows] == [epoch["loss"] for epoch in report["epochs"]]
    assert [node.op_type for node in onnx.load("out.onnx").graph.node] == [n.op_type for n in chain().graph.node]
    assert main(["evaluate", "out.onnx", "v.npz", "-q", "--json", "a.json"]) == 0
    assert json.loads(Path("a.json").read_text())["top1"] == report["accuracy"]
    assert not Path("out.onnx.training").exists()


def test_prune_writes_the_compiled_and_the_masked_model(command: list[str]) -> None:
    chosen = ["--schedule", "gradual", "--amount", "0.4", "--write-masked", "m.onnx", "--no-race", "--export", "gather"]
    assert main(["prune", *command, *chosen, "-q"]) == 0
    assert main(["verify", "m.onnx", "out.onnx", "-q"]) == 0
    assert Path("out.onnx").stat().st_size < 0.9 * Path("m.onnx").stat().st_size
    assert not Path("out.onnx.training").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--rate", "1e30"], "the loss is not finite in epoch 1"),
        (["--batch", "1000"], "x.npz: 64 samples are less than one batch of 1000"),
        (["--data", "none.npz"], "none.npz"),
        (["--optimizer", "sdg"], "did you mean 'sgd'"),
        (["--mean", "0.5,0.5,0.5", "--std", "0"], "a std of 0"),
        (["--csv", "out.onnx"], "is the same file as"),
    ],
)
def test_what_cannot_be_is_one_line_and_no_file(
    command: list[str], words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finetune", *command, *words]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert line in errors[0]
    assert not {"out.onnx", "out.onnx.training"} & {path.name for path in Path().iterdir()}
