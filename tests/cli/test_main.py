"""From what the stages return or raise to what is printed and the exit code; the stages are stand-ins."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from upscale_onnx.cli.main import main
from upscale_onnx.errors import (
    ArgumentError,
    InternalError,
    ModelError,
    NotEquivalentError,
    ProviderError,
    Reason,
)
from upscale_onnx.options import Options
from upscale_onnx.results import (
    ModelStats,
    Origin,
    OutputError,
    Picture,
    Race,
    Refusal,
    Report,
    Result,
    Segment,
    Timing,
    Verification,
)

STATS = ModelStats(100, 200, 1, 0)
REFUSAL = Refusal("n", "Foo", Reason.UNKNOWN_OPERATOR)
PICTURE = Picture(1, (), ())
SEGMENT = Segment(0, (), (), (), (), (), 4, 3, (REFUSAL,))


@dataclasses.dataclass(frozen=True)
class _Inspection:
    segments: tuple[Segment, ...]
    refusals: tuple[Refusal, ...]
    stats: ModelStats
    picture: Picture = PICTURE
    origin: Origin | None = None


def _model() -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 2)) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _report() -> Report:
    return Report("keep", STATS, ModelStats(50, 100, 2, 8), (SEGMENT,), (REFUSAL,), None, None, 0, {"load": 0.5})


def _verification(*, equal: bool) -> Verification:
    return Verification(equal, 1e-5, (OutputError("y", 0.5, 0.25, 1.0, None),), 2, (), "cpu")


@pytest.fixture
def paths(tmp_path: Path) -> tuple[str, str]:
    """An input that exists and an output that does not."""
    source = tmp_path / "in.onnx"
    onnx.save(_model(), source)
    return str(source), str(tmp_path / "out.onnx")


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in for the pipeline that records what it was asked."""
    stand_in = SimpleNamespace(asked=[])

    def compiled(model: str, options: Options, progress: Callable[[str, float], None], store: object) -> Result:
        stand_in.asked.append((model, options))
        progress("load", 0.0)
        progress("plan", 0.5)
        progress("plan", 0.6)
        return Result(_model(), _report(), _model(), {})

    def inspect(model: str, *, progress: Callable[[str, float], None]) -> Any:
        stand_in.asked.append(model)
        progress("load", 1.0)
        return _Inspection((SEGMENT,), (REFUSAL,), STATS)

    stand_in.compiled, stand_in.inspect = compiled, inspect
    _install(monkeypatch, "pipeline", stand_in)
    return stand_in


def _install(monkeypatch: pytest.MonkeyPatch, name: str, module: SimpleNamespace) -> None:
    package, _, last = f"upscale_onnx.{name}".rpartition(".")
    monkeypatch.setitem(sys.modules, f"{package}.{last}", module)
    monkeypatch.setattr(importlib.import_module(package), last, module, raising=False)


def test_compile_writes_and_reports(
    paths: tuple[str, str], pipeline: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = paths
    assert main([source, target, "--amount", "0.25"]) == 0
    assert onnx.load(target) == _model()
    assert pipeline.asked == [(source, Options.of(amount=0.25))]
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert "compile.export            keep" in lines
    assert any(line.startswith("stats.parameters") and "before 100  after 50" in line for line in lines)
    assert lines[-1] == f"written  {target}"
    assert err == ""
    assert "\x1b" not in out


def test_quiet_prints_nothing(
    paths: tuple[str, str], pipeline: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*paths, "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert Path(paths[1]).exists()


def test_verbose_shows_segments_and_stages(
    paths: tuple[str, str], pipeline: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*paths, "-v"]) == 0
    out, err = capsys.readouterr()
    assert "segment.0" in out
    assert "refused.n" in out
    assert err.splitlines() == ["load", "plan"]


def test_compile_writes_json(
    paths: tuple[str, str], pipeline: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*paths, "-q", "--json", str(tmp_path / "r.json")]) == 0
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["kind"] == "report"
    assert content["after"]["parameters"] == 50
    capsys.readouterr()
    assert main([*paths, "--json", "-"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {**printed, "origin": None} == {**content, "origin": None}
    assert "--json -" in printed["origin"]["command"]


@pytest.mark.parametrize("place", ["in.onnx", "out.onnx", ".", "none/r.json"])
def test_a_report_that_cannot_be_written_stops_before_the_work(
    place: str, paths: tuple[str, str], pipeline: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*paths, "--json", str(tmp_path / place)]) == 2
    assert pipeline.asked == []
    assert not Path(paths[1]).exists()
    _one_line(capsys)


def test_an_output_equal_to_the_input_stops_before_the_work(
    paths: tuple[str, str], pipeline: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path(paths[0]).read_bytes()
    assert main([paths[0], paths[0]]) == 2
    assert pipeline.asked == []
    assert Path(paths[0]).read_bytes() == before
    assert "is the same file as" in _one_line(capsys)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ArgumentError("no such\ncriterion"), 2),
        (ModelError("in.onnx: is empty"), 2),
        (NotEquivalentError("output y differs by 0.5"), 3),
        (ProviderError("cuda is not available"), 4),
    ],
)
def test_typed_errors_are_one_line_and_their_code(
    error: Exception,
    code: int,
    paths: tuple[str, str],
    pipeline: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipeline.compiled = _raising(error)
    assert main([*paths]) == code
    assert _one_line(capsys) == "upscale_onnx: error: " + str(error).replace("\n", " ")
    assert not Path(paths[1]).exists()


@pytest.mark.parametrize("error", [InternalError("classes do not line up"), KeyError("w"), AssertionError()])
def test_a_bug_says_how_to_report_it(
    error: Exception, paths: tuple[str, str], pipeline: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.compiled = _raising(error)
    assert main([*paths]) == 1
    line = _one_line(capsys)
    assert type(error).__name__ in line
    assert "please report it" in line
    assert main([*paths, "-v"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    assert not Path(paths[1]).exists()


def test_interrupted(paths: tuple[str, str], pipeline: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.compiled = _raising(KeyboardInterrupt())
    assert main([*paths]) == 130
    assert _one_line(capsys) == "upscale_onnx: interrupted"
    assert not Path(paths[1]).exists()


def test_too_little_memory_is_no_bug(
    paths: tuple[str, str], pipeline: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.compiled = _raising(MemoryError())
    assert main([*paths]) == 2
    assert "not enough memory" in _one_line(capsys)


def test_an_error_cannot_write_escapes(
    paths: tuple[str, str], pipeline: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.compiled = _raising(ModelError("node '\x1b[2J' is odd"))
    assert main([*paths]) == 2
    assert _one_line(capsys) == "upscale_onnx: error: node '\\x1b[2J' is odd"


def test_inspect_prints_tables_or_json(
    paths: tuple[str, str], pipeline: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", paths[0]]) == 0
    text = capsys.readouterr().out
    assert "model.parameters" in text
    assert "segment.0 " in text
    assert "refusal.unknown_operator  nodes 1" in text
    assert main(["inspect", paths[0], "--json", "-"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["segments"][0]["live"] == 3
    assert content["refusals"][0]["reason"] == "unknown operator"
    assert pipeline.asked == [paths[0], paths[0]]
    for words in (["--json", paths[0]], [paths[0], "--json"]):  # as it once was
        assert main(["inspect", *words]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["segments"] == content["segments"]
        assert "note: --json takes a file now" in err


def test_a_terminal_gets_rich_tables_and_a_bar(
    paths: tuple[str, str],
    pipeline: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main([*paths]) == 0
    out, err = capsys.readouterr()
    assert "━" in out or "─" in out
    assert "\x1b[" in out
    assert "plan" in err
    assert main([*paths, "-q"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("equal", "code"), [(True, 0), (False, 3)])
def test_verify_answers_by_its_exit_code(
    equal: bool,
    code: int,
    paths: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked: list[dict[str, Any]] = []

    def compare(original: onnx.ModelProto, compiled: onnx.ModelProto, claims: object, **given: Any) -> Verification:
        assert original == compiled == _model()
        assert claims is None
        asked.append(given)
        return _verification(equal=equal)

    monkeypatch.setattr("upscale_onnx.proof.equivalence.compare_models", compare)
    monkeypatch.setattr("upscale_onnx.proof.verifying.load_inputs", lambda path, model: {"x": path})
    monkeypatch.setattr("upscale_onnx.proof.verifying.resolve_provider", _resolve)
    words = ["verify", paths[0], paths[0]]
    assert main(words) == code
    assert asked == [{"proofs": ("local", "global"), "provider": "cpu (auto)", "seed": 0}]
    out = capsys.readouterr().out
    assert f"verify.equal      {'yes' if equal else 'no'}\n" in out
    assert "verify.y          max_absolute 0.5" in out
    report = tmp_path / "v.json"
    words += ["--inputs", "d.npz", "--trials", "3", "--tolerance", "1e-3", "--seed", "5", "--provider", "cpu"]
    assert main([*words, "--proof", "global", "-q", "--json", str(report)]) == code
    rest = {"provider": "cpu (cpu)", "seed": 5, "trials": 3, "tolerance": 1e-3, "inputs": {"x": "d.npz"}}
    assert asked[1] == {"proofs": ("global",), **rest}
    assert capsys.readouterr().out == ""
    assert json.loads(report.read_text())["equal"] is equal


def test_bench_races_a_model_with_itself(
    paths: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def race(runners: dict[str, onnx.ModelProto], **given: Any) -> Race:
        assert callable(given.pop("skip"))
        assert callable(given.pop("told"))
        asked.append(given)
        return Race(tuple(Timing(name, 1.0, 0.9, 1.1, 1.0) for name in runners), paths[0], "cpu", given["threads"], 5)

    monkeypatch.setattr("upscale_onnx.runtime.bench.race", race)
    monkeypatch.setattr("upscale_onnx.runtime.providers.resolve_provider", _resolve)
    monkeypatch.setattr("upscale_onnx.runtime.providers.describe", lambda provider, threads: {})
    words = ["--threads", "2,1", "--budget", "0.5", "--rounds", "9"]
    assert main(["bench", paths[0], paths[0], paths[0], *words]) == 0
    common = {"provider": "cpu (auto)", "budget_s": 0.5, "seed": 0, "rounds": 9, "batch": None}
    assert asked == [{"threads": 2, **common}, {"threads": 1, **common}]
    out = capsys.readouterr().out
    for name in (paths[0], f"{paths[0]}#2", f"{paths[0]}#3"):
        assert f"race.threads2.{name} " in out


def _resolve(name: str) -> str:
    return f"cpu ({name})"


def _raising(error: BaseException) -> Callable[..., Result]:
    def compile(*args: object, **kwargs: object) -> Result:
        raise error

    return compile


def _one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The single line on standard error; nothing is on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return str(line)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 2), (errno.EROFS, 2), (errno.EBADF, 1)])
def test_a_full_disk_is_not_a_bug(
    paths: tuple[str, str], pipeline: SimpleNamespace, capsys: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    pipeline.compiled = fail
    assert main([*paths]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert os.strerror(number) in line
    assert not Path(paths[1]).exists()
