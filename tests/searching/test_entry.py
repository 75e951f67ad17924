"""A search from Python: its result, its files, and how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import upscale_onnx
from upscale_onnx.errors import ArgumentError

pytest.importorskip("optuna")
ROOT = Path(__file__).resolve().parents[2]
MODEL, DATA = ROOT / "models" / "digits_cnet_masked.onnx", str(ROOT / "models" / "digits_test.npz")
SETTINGS = upscale_onnx.Searching(constraints=("params<=0.3",), strategy="random", trials=2, limit=32)


def test_the_front_and_its_profiles(tmp_path: Path) -> None:
    with np.load(DATA) as file:
        arrays = {name: file[name] for name in file}
    front = upscale_onnx.search(MODEL, tmp_path / "s", arrays, SETTINGS, judge=DATA)
    assert upscale_onnx.search([MODEL], tmp_path / "s", DATA, SETTINGS, judge=DATA) == front  # nothing is left to do
    assert front.trials == 2
    (name, profile), *_ = front.profiles.items()
    row = dict(zip(front.columns, front.rows[0], strict=True))
    assert row["profile"] == name
    assert 0.5 < float(row["judged"] or 0) <= 1
    assert f"profiles/{name}.json" in front.commands[0]
    assert (tmp_path / "s" / "commands.txt").read_text().splitlines() == list(front.commands)
    how: dict[str, Any] = {"method": "constrained", "masks": "flat", "export": "gather", "race": False, "verify": False}
    made = upscale_onnx.compile(MODEL, profile=profile, **how).report
    assert made.after.parameters / made.before.parameters == pytest.approx(row["params"])


def test_settings_that_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="something to measure on"):
        upscale_onnx.search(MODEL, tmp_path, settings=SETTINGS)
    with pytest.raises(ArgumentError, match="give both, or none"):
        upscale_onnx.search(MODEL, tmp_path, DATA, SETTINGS, train=DATA)
    with pytest.raises(ArgumentError, match="judging needs accuracies"):
        upscale_onnx.search(MODEL, tmp_path, None, SETTINGS, judge=DATA, calibration=DATA)
    with pytest.raises(ArgumentError, match="distance is measured without labels"):
        upscale_onnx.search(MODEL, tmp_path, DATA, upscale_onnx.Searching(constraints=("distance<=0.1",)))
    with pytest.raises(ArgumentError, match="write one as"):
        upscale_onnx.Searching(constraints=("fast",))
    with pytest.raises(ArgumentError, match="leave them out where there is an address"):
        upscale_onnx.Searching(workers=2, address="auto")
