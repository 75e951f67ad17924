"""Graphs that once crashed the compiler, grew, or were refused although they are sound, where the folder is at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import onnx
import pytest

import upscale_onnx
from tests.conftest import ROOT
from upscale_onnx.model.stats import model_stats

FOLDER = Path(os.environ.get("UPSCALE_CASES", ROOT.parent / "shared" / "cases"))
CRASHED = (
    "split_zero_1",
    "stft_refused_escapes",
    "empty_output",
    "fragile_zero_padding",
    "hostile/KeyError_plan_value",
)
REFUSED = ("simplified_layernorm_refused", "hostile/groupnorm_reader_dead", "hostile/min_instancenorm_bias")
RIGHT = ("constant_padded", "fusedconv", "gridsample", "matmul_beside_channels", "runtime_sizes")
GREW = ("shared_weights", "albert_grows", "fp16_cast_grows")


def compiled(name: str) -> upscale_onnx.Result:
    path = FOLDER / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}: set UPSCALE_CASES to the folder of cases")
    return upscale_onnx.compile(path, export="gather", align=1, race=False)


@pytest.mark.parametrize("name", CRASHED + REFUSED)
def test_a_sound_graph_compiles(name: str) -> None:
    report = compiled(name).report
    assert report.verification is not None
    assert report.verification.equal


@pytest.mark.parametrize("name", RIGHT)
def test_no_more_is_left_than_must_be(name: str) -> None:
    report = compiled(name).report
    assert report.verification is not None
    assert report.verification.equal
    assert report.after.parameters <= json.loads((FOLDER / "limits.json").read_text())[name]


@pytest.mark.parametrize("name", GREW)
def test_nothing_grows(name: str) -> None:
    report = compiled(name).report
    limit = json.loads((FOLDER / "limits.json").read_text())[name]
    assert report.after.bytes < report.before.bytes
    assert report.after.parameters <= (limit or report.before.parameters)


def test_a_quantised_network_loses_all_that_its_masks_leave_idle() -> None:
    assert compiled("qdq").report.after.parameters == 842


def test_every_constant_counts() -> None:
    path = FOLDER / "qdq.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}: set UPSCALE_CASES to the folder of cases")
    model = onnx.load(path)
    count = sum(onnx.numpy_helper.to_array(tensor).size for tensor in model.graph.initializer)
    assert model_stats(model).parameters == count
