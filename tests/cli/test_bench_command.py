"""The bench command: races under several settings, and the files it writes."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.cli.main import main


def network(batch: int | str, *, name: str = "x", width: int = 16, flat: int | None = None) -> onnx.ModelProto:
    """name (batch, 3, 8, 8) -> Conv to `width` channels, Relu; flattened by a Reshape to (flat, -1) where given."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", [name, "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    weights = [numpy_helper.from_array(rng.normal(size=(width, 3, 3, 3)).astype(np.float32), "w")]
    shape: list[int | str | None] = [batch, width, 8, 8]
    if flat is not None:
        nodes[1].output[0] = "b"
        nodes.append(helper.make_node("Reshape", ["b", "s"], ["y"]))
        weights.append(numpy_helper.from_array(np.array([flat, -1]), "s"))
        shape = [batch, width * 64]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (batch, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with fixed.onnx (of batch 1), free.onnx (of any) and other.onnx (of another input)."""
    monkeypatch.chdir(tmp_path)
    onnx.save(network(1, flat=1), "fixed.onnx")
    onnx.save(network("n", flat=0), "free.onnx")
    onnx.save(network(1, name="z"), "other.onnx")
    return tmp_path


def bench(*words: str) -> int:
    """The exit code of a short bench on the CPU."""
    return main(["bench", *words, "--provider", "cpu", "--budget", "0.1", "--rounds", "7"])


def test_every_setting_is_raced_and_written(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)  # a single core is warned of
    words = ("fixed.onnx", "free.onnx", "--batch", "1,8", "--threads", "1,2", "--operators")
    assert bench(*words, "--json", "b.json", "--csv", "b.csv") == 0
    out, err = capsys.readouterr()
    assert err == ""
    content = json.loads((folder / "b.json").read_text())
    assert content["kind"] == "bench"
    assert content["skipped"] == []
    assert content["machine"]["provider"] == "cpu"
    settings = [(race["batch"], race["threads"]) for race in content["races"]]
    assert settings == [(1, 1), (1, 2), (8, 1), (8, 2)]
    rows = list(csv.DictReader((folder / "b.csv").read_text().splitlines()))
    assert [(row["runner"], int(row["batch"])) for row in rows[3:5]] == [("free.onnx", 1), ("fixed.onnx", 8)]
    timings = [timing for race in content["races"] for timing in race["timings"]]
    assert [float(row["median_ms"]) for row in rows] == [timing["median_ms"] for timing in timings]
    for timing in timings:
        assert 0 < timing["p10_ms"] <= timing["median_ms"] <= timing["p90_ms"]
        assert timing["ratio_low"] <= timing["ratio"] <= timing["ratio_high"]
    assert [(p["name"], p["batch"], p["threads"]) for p in content["profiles"]][4:6] == [
        ("fixed.onnx", 8, 1),
        ("free.onnx", 8, 1),
    ]
    assert all("Conv" in {o["op_type"] for o in p["operators"]} for p in content["profiles"])
    lines = out.splitlines()
    assert any(line.startswith("race.batch8.threads2.free.onnx ") for line in lines)
    (conv,) = [line for line in lines if line.startswith("profile.batch8.threads1.Conv ")]
    assert "fixed.onnx ms" in conv
    assert "free.onnx nodes 1" in conv


def test_a_large_batch_takes_longer(folder: Path) -> None:
    onnx.save(network(1, width=128), "wide.onnx")
    assert bench("wide.onnx", "--batch", "1,128", "--json", "b.json", "-q") == 0
    one, many = (race["timings"][0] for race in json.loads((folder / "b.json").read_text())["races"])
    assert many["p10_ms"] > 4 * one["p10_ms"]


def test_who_cannot_run_is_told_and_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = helper.make_node("ReduceSum", ["y"], ["sum"])
    model = network(1)
    model.graph.node.append(whole)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("sum", TensorProto.FLOAT, (1, 1, 1, 1)))
    onnx.save(model, "sum.onnx")
    words = ("fixed.onnx", "sum.onnx", "other.onnx", "--batch", "1,8", "--json", "b.json")
    assert bench(*words) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert [line.split(": ")[2:4] for line in lines] == [
        ["other.onnx", "left out at batch 1"],
        ["sum.onnx", "left out at batch 8"],
        ["other.onnx", "left out at batch 8"],
    ]
    assert "output 'sum'" in lines[1]
    content = json.loads((folder / "b.json").read_text())
    assert [[t["name"] for t in race["timings"]] for race in content["races"]] == [
        ["fixed.onnx", "sum.onnx"],
        ["fixed.onnx"],
    ]
    assert len(content["skipped"]) == 3
    assert "race.batch8.threads1.fixed.onnx" in out


def test_without_the_first_there_is_no_race(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load("fixed.onnx")
    model.graph.node[0].attribute.append(helper.make_attribute("strides", [0, 0]))
    onnx.save(model, "bad.onnx")
    assert bench("bad.onnx", "fixed.onnx", "--json", "b.json") == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("upscale_onnx: error: bad.onnx: ")
    assert not (folder / "b.json").exists()


def test_a_plot(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    assert bench("fixed.onnx", "fixed.onnx", "--operators", "--plot", "b.png", "-q") == 0
    assert (folder / "b.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--batch 0", "--batch"),
        ("--batch 1,x", "'x' is not an integer"),
        ("--threads ,", "--threads"),
        ("--csv none/b.csv", "none"),
        ("--csv fixed.onnx", "--csv fixed.onnx: is the same file as fixed.onnx"),
        ("--plot b.docx", ".png"),
        ("--csv b.txt --json b.txt", "--json b.txt: is the same file as --csv b.txt"),
    ],
)
def test_arguments_that_cannot_be_used(folder: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert bench("fixed.onnx", *words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert said in line
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_plot_without_matplotlib(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert bench("fixed.onnx", "--plot", "b.png") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'upscale-onnx[report]'" in line
    assert not (folder / "b.png").exists()
