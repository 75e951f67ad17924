"""Where PyTorch computes: on a simulated device, on a GPU where there is one, and what is said where there is none."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.training.models import residual, samples
from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError
from upscale_onnx.training.finetune import finetune
from upscale_onnx.training.settings import Training

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
SIMULATED = Path(__file__).with_name("on_simulated_device.py")
QUICK = Training(epochs=2, batch=16, rate=0.05)


def test_on_a_simulated_device() -> None:
    tests = len(re.findall("^def test_", SIMULATED.read_text(), re.MULTILINE))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SIMULATED)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    passed = re.search(r"(\d+) passed", ended.stdout)
    assert passed is not None
    assert int(passed[1]) >= tests, "none is skipped"


@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch has a GPU here")
def test_a_gpu_that_is_not_there_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = samples(tmp_path / "x.npz")
    with pytest.raises(ArgumentError, match="PyTorch has no GPU here"):
        finetune(residual(), data, settings=replace(QUICK, device="cuda"))
    onnx.save(residual(), tmp_path / "in.onnx")
    words = ["finetune", str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), "--data", data, "--device", "cuda"]
    assert main(words) == 2
    assert "device cuda: PyTorch has no GPU here" in capfd.readouterr().err
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch has no GPU here")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_trains_as_well_as_a_processor(tmp_path: Path, precision: Any) -> None:
    data, val = samples(tmp_path / "x.npz", 128), samples(tmp_path / "v.npz", 50, seed=1)
    settings = Training(epochs=6, batch=16, rate=0.1, precision=precision, augment="flip")
    found, again = (finetune(residual(), data, val, replace(settings, device="cuda")) for _ in range(2))
    expected = finetune(residual(), data, val, replace(settings, device="cpu"))
    assert found.model == again.model, "the same each time"
    assert found.course.accuracy is not None
    assert expected.course.accuracy is not None
    assert abs(found.course.accuracy - expected.course.accuracy) < 0.1
