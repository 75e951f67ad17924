"""What is accepted on the command line, and what it becomes."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pytest

from upscale_onnx.cli.arguments import thread_warning
from upscale_onnx.cli.compile import options_from
from upscale_onnx.cli.main import COMMANDS, make_parser, split_command
from upscale_onnx.cli.parser import Listed
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Options


def _parse(*words: str) -> argparse.Namespace:
    name, rest = split_command(words)
    return make_parser(name).parse_args(rest)


def test_a_misspelt_command_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="no command and no file called 'inspct', did you mean 'inspect'"):
        split_command(["inspct", "in.onnx"])
    (tmp_path / "inspct").touch()
    assert split_command(["inspct", "out.onnx"]) == ("compile", ["inspct", "out.onnx"])


@pytest.mark.parametrize(("text", "value"), [("-inf", -math.inf), ("inf", math.inf), ("-2", -2.0), ("-1e-1", -0.1)])
def test_negative_numbers_are_values(text: str, value: float) -> None:
    words = ("sparsify", "a", "b", "--amount", "0.5", "--pattern", "ln-structured", "--n", text)
    assert _parse(*words).n == value


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_options_of_several_values_hold_those_of_all_times_they_are_given(command: str) -> None:
    for action in make_parser(command)._actions:
        if "," in str(action.metavar) and action.option_strings[-1] not in ("--mean", "--std"):  # one number or three
            assert isinstance(action, Listed) or action.nargs == "+", action.option_strings


def test_what_is_given_again_is_added() -> None:
    words = ("search", "in.onnx", "--data", "d", "--out", "o", "--objective", "accuracy,latency", "--objective=params")
    args = _parse(*words, "--objective", "latency", "--constrain", "macs<=0.4", "--constrain", "latency<=0.5")
    assert args.objectives == ("accuracy", "latency", "params")
    assert args.constraints == ("macs<=0.4", "latency<=0.5")
    assert _parse("bench", "a", "--threads", "2", "--threads", "4,2").threads == (2, 4)  # in place of the default


def _options(*words: str) -> Options:
    return options_from(_parse("in.onnx", "out.onnx", *words))


def test_the_default_is_the_default() -> None:
    assert _options() == Options()


def test_every_option_arrives() -> None:
    words = (
        "--export upscale --prefer size --align 8 --no-race --no-verify --inputs d.npz --provider cuda --amount 0.3 "
        "--criterion l1 --side output --method constrained --seed 7 --threads 2 "
        "--batch 8"
    )
    assert _options(*words.split()) == Options.of(
        export="upscale",
        prefer="size",
        align=8,
        race=False,
        verify=False,
        inputs="d.npz",
        provider="cuda",
        amount=0.3,
        criterion="l1",
        side="output",
        method="constrained",
        seed=7,
        threads=2,
        batch=8,
    )
    assert _options("--mask", "m.npz", "--side", "output") == Options.of(mask="m.npz", side="output")


@pytest.mark.parametrize(
    ("words", "command", "rest"),
    [
        (["a", "b"], "compile", ["a", "b"]),
        (["inspect", "b"], "inspect", ["b"]),
        (["compile", "inspect", "bench"], "compile", ["inspect", "bench"]),
        (["./inspect", "b"], "compile", ["./inspect", "b"]),
        (["a", "verify"], "compile", ["a", "verify"]),
        (["-q", "inspect", "b"], "compile", ["-q", "inspect", "b"]),
        ([], "compile", []),
    ],
)
def test_a_first_word_that_is_a_command_is_the_command(words: list[str], command: str, rest: list[str]) -> None:
    assert split_command(words) == (command, rest)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "required: in.onnx, out.onnx"),
        ("in.onnx", "required: out.onnx"),
        ("a b c", "unrecognized arguments: c"),
        ("a b --export fast", "--export: invalid choice: 'fast'"),
        ("a b --amount 1", "--amount: '1' is not a fraction"),
        ("a b --amount -0.1", "--amount: '-0.1' is not a fraction"),
        ("a b --amount nan", "--amount: 'nan' is not a fraction"),
        ("a b --amount much", "--amount: 'much' is not a fraction"),
        ("a b --amount 0.1 --mask m.npz", "--mask: not allowed with argument --amount"),
        ("a b --align 0", "--align: '0' is not an integer of at least 1"),
        ("a b --align 1.5", "--align: '1.5' is not an integer of at least 1"),
        ("a b --threads 0", "--threads: '0' is not an integer of at least 1"),
        ("a b --batch 0", "--batch: '0' is not an integer of at least 1"),
        ("a b --seed -1", "--seed: '-1' is not an integer of at least 0"),
        ("a b --criterion lamb --amount 0.1", "--criterion: no criterion called 'lamb': use one of l1, l2"),
        ("a b --am 0.1", "there is no option --am"),
        ("a b --amout 0.1", "there is no option --amout, did you mean '--amount'?"),
        ("a b --amout=0.1", "there is no option --amout, did you mean '--amount'?"),
        ("sparsify a b --amout 0.1", "there is no option --amout, did you mean '--amount'?"),
        ("a b --export keeps", "--export: invalid choice: 'keeps'"),
        ("a b --export keeps", ", did you mean 'keep'?"),
        ("evaluate a b --layout nwhc", ", did you mean 'nhwc'?"),
        ("a b --criterion lam --amount 0.1", ", did you mean 'lamp'?"),
        ("a b -q -v", "not allowed with argument"),
        ("inspect", "required: in.onnx"),
        ("inspect a b", "unrecognized arguments: b"),
        ("verify a", "required: b.onnx"),
        ("verify a b --trials 0", "--trials: '0' is not"),
        ("verify a b --tolerance 0", "--tolerance: '0' is not a number above 0"),
        ("verify a b --tolerance inf", "--tolerance: 'inf' is not a number above 0"),
        ("bench", "required: a.onnx"),
        ("bench a --budget -3", "--budget: '-3' is not a number above 0"),
    ],
)
def test_what_is_refused_says_why(words: str, complaint: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        _parse(*words.split())
    assert complaint in str(caught.value)
    assert "--help)" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("--criterion l1", "criterion"),
        ("--method constrained", "method"),
        ("--side output", "side"),
        ("--mask m.npz --criterion l1", "criterion"),
    ],
)
def test_options_without_effect_are_refused(words: str, name: str) -> None:
    with pytest.raises(ArgumentError, match=f"--{name} has no effect without --amount"):
        _options(*words.split())


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_exists_for_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        _parse(command, "--help")
    assert done.value.code == 0
    assert COMMANDS[command].SUMMARY[5:] in capsys.readouterr().out


def test_the_main_help_lists_the_other_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parse("--help")
    text = capsys.readouterr().out
    for command in COMMANDS.keys() - {"compile"}:
        assert f"  {command} " in text


@pytest.mark.parametrize("words", ["a b", "bench a", "evaluate a b", "calibrate a", "sensitivity a", "paper a"])
def test_more_threads_than_run_at_once_are_mentioned(words: str) -> None:
    assert thread_warning(_parse(*words.split(), "--threads", "1")) == ""
    assert "--threads 9999: this machine runs" in thread_warning(_parse(*words.split(), "--threads", "9999"))


def test_commands_without_threads_have_no_such_warning() -> None:
    assert thread_warning(_parse("inspect", "a")) == ""
