"""A search strategy is a class and its registration, in a program of one's own: no file of the package changes."""

from __future__ import annotations

import csv
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.documented.material import write_material
from tests.examples.patched import EXAMPLES
from upscale_onnx.cli.main import main
from upscale_onnx.searching.strategies import registry

PLACE = ("search", "in.onnx", "--data", "data.npz", "--out", "climbed", "--limit", "16")
WORDS = (*PLACE, "--strategy", "climb", "--trials", "20")


def test_a_strategy_of_ones_own_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    write_material(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_OTHERS", {})
    assert main(WORDS) == 2, "the strategy is known before it is registered"
    monkeypatch.setattr(sys, "argv", ["search_strategy.py", *WORDS])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(EXAMPLES / "search_strategy.py"), run_name="__main__")
    with (tmp_path / "climbed" / "results.csv").open(encoding="utf-8") as lines:
        assert "climb" in {row["source"] for row in csv.DictReader(lines)}


def test_it_moves_one_share_of_the_best_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_OTHERS", {})
    setting: Any = SimpleNamespace(seed=0, problem=SimpleNamespace(decisions=3))
    climb = runpy.run_path(str(EXAMPLES / "search_strategy.py"))["Climb"](setting)
    best = SimpleNamespace(proposal=SimpleNamespace(shares=(0.5, 0.6, 0.7)))
    for number in range(5):
        moved = climb.propose(SimpleNamespace(best=lambda count: [best]), number).shares
        steps = sorted(abs(new - old) for new, old in zip(moved, best.proposal.shares, strict=True))
        assert steps == pytest.approx([0, 0, 0.1])
