"""The program that divides labelled images into halves."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.documented.programs import load

TOLD = [("one.npz", range(5)), ("two.npz", range(5, 12)), ("more.npz", range(90, 93))]


def test_each_half_judges_what_the_other_one_calibrates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, labels in TOLD:
        images = np.stack([np.full((4, 4, 3), label, np.uint8) for label in labels])
        np.savez(tmp_path / name, x=images, y=np.array(labels))
    one, two, more = (str(tmp_path / name) for name, _ in TOLD)
    monkeypatch.setattr(sys, "argv", ["divisions.py", one, two, "--also", more, "--seed", "3", "--out", str(tmp_path)])
    load("divisions").main()
    halves = {}
    for name in ("first_train", "first_test", "second_train", "second_test"):
        with np.load(tmp_path / f"{name}.npz") as data:
            assert (data["x"] == data["y"][:, None, None, None]).all()
            halves[name] = data["y"].tolist()
    assert sorted(halves["first_test"] + halves["second_test"]) == list(range(12))
    assert len(halves["first_test"]) == 6
    assert halves["first_test"] != sorted(halves["first_test"])  # drawn, not cut in the middle
    for own, other in (("first", "second"), ("second", "first")):
        assert halves[f"{own}_train"] == [*halves[f"{other}_test"], 90, 91, 92]
