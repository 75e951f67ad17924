"""A target is one line among the presets: a CPU whose kernels work in blocks of four channels."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import upscale_onnx
from tests.examples.patched import ROOT, patched, run_python, touched
from upscale_onnx.errors import ArgumentError

DIFF = "target.diff"
MODEL = str(ROOT / "models" / "digits_cnet_masked.onnx")
COMPILE = """
import sys, upscale_onnx
for target in ("cpu-neon", "cpu-avx512"):
    done = upscale_onnx.compile(sys.argv[1], target=target, export="keep", race=False)
    assert done.report.verification.equal
    print({tensor.name: tensor.dims[0] for tensor in done.model.graph.initializer if len(tensor.dims) == 4})
"""


def test_a_target_is_one_line() -> None:
    assert touched(DIFF) == ["upscale_onnx/costs/targets.py"]


def test_without_it_there_is_no_such_target() -> None:
    with pytest.raises(ArgumentError, match="unknown target 'cpu-neon'"):
        upscale_onnx.compile(MODEL, target="cpu-neon", race=False)


def test_its_blocks_decide_what_is_emitted(tmp_path: Path) -> None:
    said = run_python(patched(DIFF, tmp_path), "-c", COMPILE, MODEL).splitlines()
    fours, sixteens = map(ast.literal_eval, said)
    assert all(channels % 4 == 0 for channels in fours.values())
    assert all(channels <= sixteens[name] for name, channels in fours.items())
    assert sum(fours.values()) < sum(sixteens.values())
