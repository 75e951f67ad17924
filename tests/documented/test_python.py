"""The examples of the page on Python run, section by section."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import upscale_onnx
from tests.doctests import ROOT, check_examples

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
SECTIONS = {text.partition("\n")[0].lstrip("# "): text for text in re.split(r"(?m)^(?=##? )", PAGE) if ">>> " in text}
NEEDED = {"finetune": "torch", "prune": "torch", "search": "optuna"}


@pytest.mark.parametrize("title", SECTIONS)
def test_the_examples_run(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if title in NEEDED:
        pytest.importorskip(NEEDED[title])
    check_examples(SECTIONS[title], title, tmp_path, monkeypatch)


def test_every_function_has_a_section() -> None:
    functions = {name for name in upscale_onnx.__all__ if name.islower()}
    assert functions <= SECTIONS.keys()
    assert set(NEEDED) <= functions
