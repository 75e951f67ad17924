"""Runs the examples in a text."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.FAIL_FAST


def check_examples(text: str, name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the examples in `text`, in the folder of the source. name: what `text` is of. cache: for measured times.

    Raises: AssertionError where there is no example, or one of them prints something else than it says.
    """
    examples = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert examples.examples, f"{name} has no example"
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("UPSCALE_ONNX_CACHE", str(cache))
    said: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(examples, out=said.append)
    assert not said, "".join(said)
