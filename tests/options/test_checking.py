"""Options are checked by their annotations, wherever they come from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import upscale_onnx
from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.arrays import read_arrays
from upscale_onnx.options import Options
from upscale_onnx.options.checking import check_options

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "digits_inception_masked.onnx"


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"side": "inputs"}, "side is 'inputs': it takes 'input' or 'output', did you mean 'input'?"),
        ({"side": "in"}, "side is 'in': it takes 'input' or 'output'"),
        ({"method": "foo"}, "method is 'foo': it takes 'unconstrained' or 'constrained' or 'hybrid'"),
        ({"export": "foo"}, "export is 'foo': it takes 'auto' or 'planned' or 'upscale' or 'gather' or 'keep'"),
        ({"export": "keeps"}, "did you mean 'keep'?"),
        ({"repair": "lqs"}, "repair is 'lqs': it takes 'stats' or 'lsq' or 'joint' or None, did you mean 'lsq'?"),
        ({"threads": -1}, "threads is -1: it takes an integer of at least 1"),
        ({"threads": 1.5}, "threads is 1.5: it takes an integer of at least 1"),
        ({"threads": True}, "threads is True: it takes an integer of at least 1"),
        ({"batch": 0}, "batch is 0: it takes an integer of at least 1 or None"),
        ({"align": 0}, "align is 0: it takes an integer of at least 1 or None"),
        ({"seed": -3}, "seed is -3: it takes an integer of at least 0"),
        ({"tune": float("inf")}, "tune is inf: it takes a number of seconds, at least 0"),
        ({"amount": 1.0}, "amount is 1.0: it takes a fraction from 0 up to, not including, 1 or None"),
        ({"amount": float("nan")}, "amount is nan: it takes a fraction"),
        ({"amount": "0.3"}, "amount is '0.3': it takes a fraction"),
        ({"params": 0}, "params is 0: it takes a share above 0 and below 1"),
        ({"compression": 1}, "compression is 1: it takes a number above 1"),
        ({"race": "no"}, "race is 'no': it takes True or False"),
        ({"ignore": "conv*"}, "ignore is 'conv*': it takes a tuple, each item text"),
        ({"amounts": (("x",),)}, "it takes a tuple, each item (text, a fraction"),
        ({"criterion": 3}, "criterion is 3: it takes text or a function"),
        ({"calibration": 3}, "calibration is 3: it takes text or a mapping of arrays or None"),
        ({"criterion": "l3"}, "no criterion called 'l3': use one of l1, l2"),
        ({"amout": 0.3}, "there is no option 'amout', did you mean 'amount'?"),
        ({"wholly": 0.3}, "there is no option 'wholly'"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        upscale_onnx.compile(MODEL, **wrong)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_given_whole_are_checked_alike() -> None:
    with pytest.raises(ArgumentError, match="side is 'in'"):
        upscale_onnx.compile(MODEL, Options.of(side="in"))  # type: ignore[arg-type, unused-ignore]


def test_defaults_and_numbers_of_numpy_are_taken() -> None:
    check_options(Options())
    check_options(Options.of(amount=np.float32(0.5), threads=np.int64(2), ignore=("a", "b"), amounts=(("c*", 0),)))  # type: ignore[arg-type, unused-ignore]


def test_paths_become_text() -> None:
    assert Options.of(calibration=Path("a.npz")).prune.calibration == "a.npz"


@pytest.mark.slow
def test_a_misspelt_argument_fails_under_mypy(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(
        "import upscale_onnx\n"
        "upscale_onnx.compile('in.onnx', amount=0.3, side='output')\n"
        "upscale_onnx.compile('in.onnx', amout=0.3)\n"
        "upscale_onnx.compile('in.onnx', side='in')\n",
        encoding="utf-8",
    )
    # The modules that say what `compile` takes; the others would take half a minute, and say nothing about it.
    package = ROOT / "upscale_onnx"
    said = [package / name for name in ("__init__.py", "pipeline.py", "errors.py", "types.py", "runtime/faults.py")]
    said += [*(package / "options").glob("*.py"), *(package / "results").glob("*.py")]
    options = ["--follow-imports=skip", "--ignore-missing-imports", "--cache-dir", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "mypy", *options, "user.py", *map(str, said)]
    seen = {**os.environ, "MYPYPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, env=seen, capture_output=True, text=True)
    lines = [line for line in run.stdout.splitlines() if line.startswith("user.py")]
    assert [line.partition(": ")[0] for line in lines if ": error:" in line] == ["user.py:3", "user.py:4"], run.stdout
    assert '"amout"' in lines[0]


def test_inputs_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "inputs.npz"
    np.savez(path, image=np.zeros((2, 1, 8, 8), np.float32))
    opened: list[Path] = []

    def read(path: str | Path) -> dict[str, Any]:
        opened.append(Path(path))
        return read_arrays(path)

    monkeypatch.setattr("upscale_onnx.runtime.naming.read_arrays", read)
    options = Options.of(inputs=path, race=False, provider="cpu", amount=0.3)  # type: ignore[arg-type, unused-ignore]
    assert upscale_onnx.compile(MODEL, options).report.verification
    assert opened == [path]


def test_inputs_that_cannot_be_read_are_refused_before_any_work() -> None:
    told: list[str] = []
    with pytest.raises(ArgumentError, match=r"none\.npz: no such file"):
        upscale_onnx.compile(MODEL, inputs="none.npz", progress=lambda stage, _: told.append(stage))
    assert set(told) <= {"load"}
