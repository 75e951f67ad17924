"""The command that holds compiles to bounds: exit codes, what is printed, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from tests.cli.test_command_line import network
from upscale_onnx.cli.main import main
from upscale_onnx.gate import Bounds, check
from upscale_onnx.options import Options
from upscale_onnx.report.annotations import github_annotation

QUICK = ("--no-race", "--export", "upscale", "--align", "1", "--proof", "local")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with in.onnx, of which 5 of 16 channels can go."""
    onnx.save(network(), tmp_path / "in.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_bounds_that_hold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--min-param-reduction", "0.3", "--fail-on", "unchanged,refusal,unproven", "--annotations", "github")
    assert main(["check", "in.onnx", *words, "--out", "out.onnx", "--json", "c.json", *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = (3 * 9 + 1 + 10 * 9) * 11 / ((3 * 9 + 1 + 10 * 9) * 16)
    assert lines[0].split() == [
        "check.in.onnx", "bound", "param_reduction", "asked", "at", "least", "0.3", "found", f"{1 - first:.3f}",
        "holds", "yes",
    ]  # fmt: skip
    assert [line.split()[2] for line in lines[1:4]] == ["unchanged", "refusal", "unproven"]
    assert lines[4:] == ["written  out.onnx"]
    assert (folder / "out.onnx").stat().st_size < (folder / "in.onnx").stat().st_size
    told = json.loads((folder / "c.json").read_text(encoding="utf-8"))
    assert (told["passed"], told["verdicts"][0]["report"]["export"]) == (True, "upscale")


def test_a_bound_that_does_not_hold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(network(dead=()), folder / "whole.onnx")
    words = ("--max-size-ratio", "0.9", "--fail-on", "unchanged", "--annotations", "github", "--json", "c.json")
    assert main(["check", "in.onnx", "whole.onnx", *words, *QUICK]) == 7
    told = capsys.readouterr()
    assert told.err.startswith("upscale_onnx: error: whole.onnx: size_ratio: asked was at most 0.9, found 1.0")
    assert told.err.endswith(" (and 1 more)\n")
    annotations = [line for line in told.out.splitlines() if line.startswith("::")]
    assert [line.split("::")[1] for line in annotations] == ["error file=whole.onnx,title=upscale_onnx check"] * 2
    assert annotations[1].endswith("::unchanged: asked was smaller or faster, found as it was")
    verdicts = json.loads((folder / "c.json").read_text(encoding="utf-8"))["verdicts"]
    assert [[finding["holds"] for finding in one["findings"]] for one in verdicts] == [[True, True], [False, False]]


def test_nothing_is_written_where_a_bound_does_not_hold(folder: Path) -> None:
    assert main(["check", "in.onnx", "--max-size-ratio", "0.1", "--out", "out.onnx", "-q", *QUICK]) == 7
    assert [path.name for path in folder.iterdir()] == ["in.onnx"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "no bound is given"),
        ("--max-latency-ratio 0.8", "needs a race"),
        ("--fail-on refusals", "'refusals' is not unchanged, refusal, unproven"),
        ("in.onnx --fail-on refusal --out out.onnx", "--out names one file"),
        ("--fail-on refusal --annotations github --json -", "name a file for --json"),
        ("--fail-on refusal --out in.onnx", "is the same file as"),
    ],
)
def test_what_cannot_be_checked(words: str, told: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "in.onnx", *words.split(), *QUICK]) == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["in.onnx"]


def test_errors_are_annotated_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.onnx").write_bytes(b"no model")
    assert main(["check", "bad.onnx", "--fail-on", "refusal", "--annotations", "github", *QUICK]) == 2
    assert capsys.readouterr().out.startswith("::error file=bad.onnx,title=upscale_onnx check::bad.onnx: ")


def test_names_cannot_make_commands_of_their_own() -> None:
    line = github_annotation("t", "100 %\r\n::warning::x, y", "a,b:c\n.onnx")
    assert line == "::error file=a%2Cb%3Ac%0A.onnx,title=t::100 %25%0D%0A::warning::x, y\n"


def test_from_python() -> None:
    verdict, result = check(
        network(), Bounds(min_param_reduction=0.3), Options.of(race=False, export="upscale", align=1)
    )
    assert (verdict.model, verdict.passed) == ("model", True)
    assert verdict.report is result.report
