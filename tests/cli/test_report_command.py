"""Pages that commands write: whole or not at all, the same for the same input, refused before any work."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import onnx
import pytest

from tests.cli.test_command_line import network
from upscale_onnx.cli.main import main

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

QUICK = ("--no-race", "--export", "upscale", "--align", "1", "-q")
MEASURED = re.compile(r'<data value="[^"]*" data-path="seconds\.[^<]*</data>|\d{4}-\d\d-\d\d(T[\d:+]*)?')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with in.onnx, whose nodes have names that a browser must not take for tags."""
    onnx.save(network(name="<script>alert(1)</script>"), tmp_path / "in.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_is_the_same_apart_from_times(folder: Path) -> None:
    pages = []
    for _ in range(2):
        assert main(["in.onnx", "out.onnx", "--report", "r.html", *QUICK]) == 0
        pages.append(MEASURED.sub("", (folder / "r.html").read_text(encoding="utf-8")))
    assert pages[0] == pages[1]
    assert "<script" not in pages[0]
    assert "&lt;script&gt;" in pages[0]
    assert "python -m upscale_onnx in.onnx out.onnx --report r.html" in pages[0]
    assert {path.name for path in folder.iterdir()} == {"in.onnx", "out.onnx", "r.html"}


def test_an_inspection_is_a_page_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "in.onnx", "--report", "r.html", "--json", "-"]) == 0
    content = json.loads(capsys.readouterr().out)
    html = (folder / "r.html").read_text(encoding="utf-8")
    assert f'<data value="{content["stats"]["parameters"]}" data-path="stats.parameters">' in html
    assert "<script" not in html


@pytest.mark.parametrize("words", ["in.onnx out.onnx", "inspect in.onnx", "bench in.onnx"])
def test_what_cannot_be_written_stops_before_the_work(
    words: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, complaint in (
        ("r.pdf", "ends in .html"),
        ("in.onnx", "is the same file as"),
        ("no/r.html", "does not exist"),
    ):
        assert main([*words.split(), "--report", path]) == 2
        assert complaint in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main([*words.split(), "--report", "r.html"]) == 2
    assert capsys.readouterr().err.endswith("pip install 'upscale-onnx[report]'\n")
    assert [path.name for path in folder.iterdir()] == ["in.onnx"]
