"""No command writes a file that it reads, or writes twice; whatever the file is called."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.cli.files import TABLE, check_files
from upscale_onnx.cli.main import COMMANDS, main, make_parser, split_command
from upscale_onnx.errors import ArgumentError

# Arguments of free text that are no files. Whatever else is added is in the table.
NO_FILES = {"layers", "ignore", "masks"}
EVERYWHERE = {"config"}


def checked(words: str) -> None:
    """Parse a command line as `main` does, and check its files."""
    name, rest = split_command(words.split())
    parser = make_parser(name)
    check_files(name, parser.parse_args(rest), parser)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_argument_that_may_be_a_file_is_in_the_table(command: str) -> None:
    texts = {
        action.dest
        for action in make_parser(command)._actions
        if action.type in (None, str) and action.nargs != 0 and not action.choices and action.dest != "help"
    }
    assert texts - NO_FILES == TABLE[command].keys() | EVERYWHERE
    assert not isinstance(make_parser(command)._actions[-1], argparse._SubParsersAction)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in: a model with external data in weights.bin, and a file of each kind."""
    weight = numpy_helper.from_array(np.ones((8, 8), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [weight],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    for name in ("d.npz", "mask.npz", "c.npz", "target.json", "profile.json"):
        (tmp_path / name).write_bytes(b"old")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UPSCALE_ONNX_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "m.onnx m.onnx",
        "m.onnx weights.bin",
        "m.onnx ./weights.bin",
        "m.onnx out.onnx --json weights.bin",
        "m.onnx out.onnx --json m.onnx",
        "m.onnx out.onnx --json out.onnx",
        "m.onnx out.onnx --json ./sub/../out.onnx",
        "m.onnx out.onnx --json OUT.onnx",
        "m.onnx out.onnx --inputs d.npz --json d.npz",
        "m.onnx d.npz --inputs d.npz",
        "m.onnx out.onnx --mask mask.npz --json mask.npz",
        "m.onnx mask.npz --mask mask.npz",
        "m.onnx out.onnx --amount 0.3 --calibration c.npz --json c.npz",
        "m.onnx out.onnx --amount 0.3 --calibration c.npz --write-profile c.npz",
        "m.onnx c.npz --amount 0.3 --calibration c.npz",
        "m.onnx out.onnx --target target.json --json target.json",
        "m.onnx target.json --target target.json",
        "m.onnx out.onnx --amount 0.3 --profile profile.json --write-profile profile.json",
        "m.onnx out.onnx --amount 0.3 --write-profile weights.bin",
        "m.onnx out.onnx --amount 0.3 --write-profile r.json --json r.json",
        "m.onnx out.onnx --json cache/tables/a.json",
        "verify m.onnx m.onnx --json weights.bin",
        "verify m.onnx m.onnx --inputs d.npz --json d.npz",
        "bench m.onnx --json weights.bin",
        "bench m.onnx --csv r --plot r",
        "calibrate m.onnx --target target.json --json target.json",
        "evaluate m.onnx d.npz --json d.npz",
        "evaluate m.onnx images --json images/cat/1.png",
        "sensitivity m.onnx --data d.npz --json d.npz",
        "sensitivity m.onnx --calibration c.npz --write-profile c.npz",
        "sensitivity m.onnx --csv r --json r",
        "sparsify m.onnx weights.bin --amount 1",
        "sparsify m.onnx out.onnx --mask mask.npz --json mask.npz",
        "sparsify m.onnx mask.npz --amount 1 --scores mask.npz",
        "sparsity m.onnx --json weights.bin",
        "paper m.onnx --out . --calibration results.csv",
        "paper m.onnx --out sub --data sub/latency.png",
    ],
)
def test_a_file_that_is_used_twice_is_refused_before_the_work(
    folder: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("sub", "images/cat"):
        (folder / name).mkdir(parents=True)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "is the same file as" in err or "would overwrite what is in" in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "words",
    [
        "m.onnx out.onnx --inputs d.npz --json r.json --mask mask.npz",
        "m.onnx out.onnx --amount 0.3 --calibration d.npz --inputs d.npz --write-profile p.json",
        "m.onnx out.onnx --target cpu --amount 0.3 --profile equal",
        "verify m.onnx m.onnx --inputs d.npz --json r.json",
        "bench m.onnx m.onnx m.onnx --json r.json --csv r.csv",
        "evaluate m.onnx . --json r.json",
        "paper m.onnx --out . --data d.npz",
        "paper resnet18",
        "sensitivity m.onnx --layer m.onnx --json r.json",
    ],
)
def test_what_is_apart_passes(folder: Path, words: str) -> None:
    before = sorted(folder.rglob("*"))
    checked(words)
    checked(words.replace("r.json", "profile.json"))  # which is there already, and no file of this command
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("alias", ["symbolic", "hard", "linked folder"])
def test_other_names_of_the_same_file_are_seen_through(folder: Path, alias: str) -> None:
    (folder / "link").mkdir() if alias != "linked folder" else (folder / "link").symlink_to(folder)
    other = folder / "link" / ("weights.bin" if alias == "linked folder" else "other")
    if alias == "symbolic":
        other.symlink_to(folder / "weights.bin")
    if alias == "hard":
        os.link(folder / "weights.bin", other)
    with pytest.raises(ArgumentError, match=r"weights\.bin, which holds data of m\.onnx"):
        checked(f"m.onnx {other}")


def test_a_model_that_cannot_be_read_is_left_to_the_command(folder: Path) -> None:
    (folder / "out.onnx").write_bytes(b"old")
    for content in (b"", b"\x0a\x08location but no model"):
        (folder / "bad.onnx").write_bytes(content)
        checked("bad.onnx out.onnx")
    checked("none.onnx out.onnx")
