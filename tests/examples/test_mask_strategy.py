"""A mask strategy is one module and its entry in the registry: masks of the later half of a network."""

from __future__ import annotations

import ast
from pathlib import Path

import onnx
import pytest

import upscale_onnx
from tests.examples.patched import patched, run_python, touched
from tests.graphs import parse, weight
from upscale_onnx.errors import ArgumentError

DIFF = "mask_strategy.diff"
COMPILE = """
import sys, upscale_onnx
done = upscale_onnx.compile(sys.argv[1], amount=0.5, masks="late", race=False, align=1, export="upscale")
assert done.report.verification.equal
print([layer.keep_ratio for layer in done.report.profile])
"""


def network() -> onnx.ModelProto:
    """Four linear layers of 16 channels."""
    text = "(float[N, 16] x) => (float[N, 16] y) { a = Gemm(x, p) b = Relu(a) c = Gemm(b, q) d = Relu(c) e = Gemm(d, r)"
    return parse(
        text + " f = Relu(e) y = Gemm(f, s) }",
        **{name: weight(16, 16, seed=seed) for seed, name in enumerate("pqrs")},
    )


def test_a_strategy_is_one_module_and_its_entry_in_the_registry() -> None:
    assert touched(DIFF) == ["upscale_onnx/pruning/late.py", "upscale_onnx/pruning/strategies.py"]


def test_without_it_there_are_no_such_masks() -> None:
    with pytest.raises(ArgumentError, match="masks is 'late': it takes 'auto' or"):
        upscale_onnx.compile(network(), amount=0.5, masks="late", race=False)


def test_the_first_half_keeps_everything(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "in.onnx")
    tree = patched(DIFF, tmp_path)
    kept = ast.literal_eval(run_python(tree, "-c", COMPILE, str(tmp_path / "in.onnx")))
    assert kept == [1.0, 1.0, 0.5, 0.5]
    words = (
        str(tmp_path / "in.onnx"),
        str(tmp_path / "out.onnx"),
        "--amount",
        "0.5",
        "--allocation",
        "late",
        "--no-race",
    )
    run_python(tree, "-m", "upscale_onnx", *words)
    assert (tmp_path / "out.onnx").is_file()
