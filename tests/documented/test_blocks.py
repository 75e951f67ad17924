"""The network of the documented commands becomes smaller, whether kernels work on blocks of 8 or of 16 channels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documented.material import write_material
from upscale_onnx import compile
from upscale_onnx.options import Options


@pytest.mark.parametrize("block", [8, 16])
def test_a_third_of_the_channels_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setenv("UPSCALE_CPU_BLOCK", str(block))
    write_material(tmp_path)
    report = compile(str(tmp_path / "in.onnx"), Options.of(amount=0.3, race=False)).report
    assert report.after.parameters < 0.9 * report.before.parameters
