"""Options in a file, old names of options, and help by topic."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.cli.test_command_line import ROOT, network
from upscale_onnx.cli.compile import options_from
from upscale_onnx.cli.config import config_text, with_config
from upscale_onnx.cli.explain import TOPICS
from upscale_onnx.cli.main import COMMANDS, main, make_parser
from upscale_onnx.cli.renamed import RENAMED, with_new_names
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Options

WORDS = "in.onnx out.onnx --amount 0.3 --layer-amount a*=0.5 --layer-amount b=0.1 --no-race --criterion l1 --seed=7"


def _options(words: list[str]) -> Options:
    parser = make_parser("compile")
    return options_from(parser.parse_args(with_config(words, parser.named)))


def test_a_run_prints_itself_and_runs_from_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS.split(), "--print-config"]) == 0
    told = capsys.readouterr().out
    assert told.splitlines() == [
        "amount = 0.3", 'layer-amount = ["a*=0.5", "b=0.1"]', "no-race = true", 'criterion = "l1"', "seed = 7",
    ]  # fmt: skip
    path = tmp_path / "options.toml"
    path.write_text(told)
    wanted = _options(WORDS.split())
    assert wanted != Options()
    assert _options(["in.onnx", "out.onnx", "--config", str(path)]) == wanted
    assert main(["in.onnx", "out.onnx", "--config", str(path), "--print-config"]) == 0
    assert capsys.readouterr().out == told


def test_the_command_line_has_the_last_word(tmp_path: Path) -> None:
    path = tmp_path / "options.toml"
    path.write_text("amount = 0.3\nseed = 1\nno-verify = false\n")
    assert _options(["a", "b", f"--config={path}", "--seed", "2"]) == Options.of(amount=0.3, seed=2)


def test_a_list_on_the_command_line_replaces_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "options.toml"
    path.write_text('constrain = ["latency<=0.5", "macs<=0.4"]\n')
    parser = make_parser("search")
    words = ["in.onnx", "--data", "d.npz", "--out", "o", f"--config={path}"]
    assert parser.parse_args(with_config(words, parser.named)).constraints == ("latency<=0.5", "macs<=0.4")
    args = parser.parse_args(with_config([*words, "--constrain", "params<=0.3"], parser.named))
    assert args.constraints == ("params<=0.3",)
    path.write_text('amount = 0.3\nignore = ["a*", "b"]\n')
    assert _options(["a", "b", f"--config={path}", "--ignore=c"]) == Options.of(amount=0.3, ignore=("c",))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("amuont = 1", "there is no option 'amuont'"),
        ("config = 'x'", "there is no option 'config'"),
        ("amount = true", "amount takes a value, not true"),
        ("no-race = 3", "no-race cannot be 3"),
        ("[a]\nb = 1", "there is no option 'a'"),
        ("ignore = [[1]]", "ignore cannot be [[1]]"),
        ("amount =", "the options are not TOML"),
        ("amount = 7", "'7' is not a fraction"),
    ],
)
def test_what_a_file_cannot_hold_is_one_line(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "options.toml"
    path.write_text(text)
    assert main(["in.onnx", "out.onnx", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert main(["in.onnx", "out.onnx", "--config", str(tmp_path / "none.toml")]) == 2
    assert "cannot read the options" in capsys.readouterr().err


def test_names_with_quotes_come_back() -> None:
    with pytest.raises(ArgumentError, match="no option"):
        make_parser("compile").parse_args(["--nothing"])
    assert config_text({"--ignore": ['a"b\\', "\n"]}) == 'ignore = ["a\\"b\\\\", "\\n"]\n'


@pytest.mark.parametrize("command", RENAMED)
def test_old_names_are_no_options_and_new_ones_are(command: str) -> None:
    known = make_parser(command).named
    for old, new in RENAMED[command].items():
        assert old not in known
        assert new in known


def test_old_names_work_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert with_new_names("compile", ["--masks=flat", "--", "--masks"]) == (
        ["--allocation=flat", "--", "--masks"],
        ["--masks is called --allocation now; the old name goes with the next release"],
    )
    source, target = str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx")
    onnx.save(network(), source)
    words = ["--amount", "0.3", "--masks", "flat", "--no-race", "--no-verify", "--export", "gather"]
    assert main([source, target, *words]) == 0
    assert "note: --masks is called --allocation now" in capsys.readouterr().err
    assert main([source, target, *words, "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_help_shows_what_is_needed_most(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    short = capsys.readouterr().out
    options = [line for line in short.splitlines() if line.startswith("  --")]
    assert 12 <= len(options) <= 16
    assert "help pruning | export | target | proof | reports" in short
    assert main(["--help-all"]) == 0
    everything = capsys.readouterr().out
    for name, action in make_parser("compile").named.items():
        assert action.help
        assert name in everything


def test_every_option_is_in_a_topic(capsys: pytest.CaptureFixture[str]) -> None:
    told = ""
    for topic in TOPICS:
        assert main(["help", topic]) == 0
        told += capsys.readouterr().out
    assert {name for name in make_parser("compile").named if name.startswith("--")} <= set(
        told.replace(",", " ").split()
    )
    assert main(["help", "bench"]) == 0
    assert "--operators" in capsys.readouterr().out
    assert main(["help", "prunning"]) == 2
    assert "did you mean 'pruning'" in capsys.readouterr().err


def test_progress_as_lines_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    source = str(tmp_path / "in.onnx")
    onnx.save(network(), source)
    assert main([source, str(tmp_path / "o.onnx"), "-q", "--no-race", "--progress", "json", "--log-level", "info"]) == 0
    err = capsys.readouterr().err.splitlines()
    lines = [json.loads(line) for line in err if line.startswith("{")]
    assert [line["stage"] for line in lines][:3] == ["load", "tune", "prune"]
    assert lines[-1] == {"stage": "done", "done": 1.0, "seconds": lines[-1]["seconds"]}
    assert any("INFO: load took" in line for line in err)


def test_a_shell_completes_commands_and_options(tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    for line, wanted in (
        ("upscale-onnx ins", "inspect"),
        ("upscale-onnx bench --oper", "--operators"),
        ("upscale-onnx a b --lay", "--layer-amount"),
    ):
        answer = tmp_path / "answer"
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)),
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n",
        }  # fmt: skip
        command = [sys.executable, "-m", "upscale_onnx"]
        subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, timeout=60, check=True)
        assert wanted in [word.strip() for word in answer.read_text().split("\n")]


def test_every_command_takes_a_file_of_options() -> None:
    for name in COMMANDS:
        assert {"--config", "--print-config", "--progress", "--log-level"} <= make_parser(name).named.keys()
