"""The options of pruning on the command line, from their parsing to the profile that is written."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import onnx
import pytest

from tests.cli.test_command_line import network
from upscale_onnx.cli.compile import add_arguments, options_from
from upscale_onnx.cli.main import main
from upscale_onnx.options import Options


def _options(*words: str) -> Options:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_from(parser.parse_args(["in.onnx", "out.onnx", *words]))


def test_every_flag_reaches_the_options() -> None:
    words = (
        "--amount 0.3 --scope isomorphic --layer-amount *conv1*=0.5 --layer-amount a=b=0.1 --ignore fc --ignore stem* "
        "--min-channels 4 --kept-multiple 8 --steps 3 --schedule linear"
    )
    assert _options(*words.split()) == Options.of(
        amount=0.3, scope="isomorphic", amounts=(("*conv1*", 0.5), ("a=b", 0.1)), ignore=("fc", "stem*"),
        min_channels=4, mask_align=8, steps=3, schedule="linear",
    )  # fmt: skip
    assert _options("--macs", "0.5", "--global") == Options.of(macs=0.5, scope="global")
    assert _options("--compression", "3", "--profile", "equal") == Options.of(compression=3.0, profile="equal")
    assert _options("--params", "0.4") == Options.of(params=0.4)
    assert _options("--layer-amount", "x=0.5", "--method", "hybrid").prune.method == "hybrid"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--layer-amount conv", "'conv' is not PATTERN=A"),
        ("--layer-amount =0.5", "'=0.5' is not PATTERN=A"),
        ("--layer-amount a=1", "'1' is not a fraction"),
        ("--amount 0.3 --macs 0.5", "not allowed with argument --amount"),
        ("--amount 0.3 --global --scope local", "not allowed with argument"),
        ("--params 1", "'1' is not a share above 0 and below 1"),
        ("--compression 1", "'1' is not a number above 1"),
        ("--amount 0.3 --steps 0", "'0' is not an integer of at least 1"),
        ("--global", "--scope has no effect without --amount"),
        ("--mask m.npz --min-channels 3", "--min-channels has no effect without --amount"),
        ("--write-profile p.json", "--write-profile has no effect without --amount"),
        ("--amount 0.3 --write-profile in.onnx", "is the same file as in.onnx"),
        ("--amount 0.3 --ignore nothing", "no layer is called 'nothing'"),
        ("--amount 0.3 --profile none.json", "leave amounts and sizes out"),
        ("--profile none.json", "none.json: cannot read the profile"),
        ("--profile steep", "no profile called 'steep'"),
        ("--amount 0.3 --allocation aware --global", "leave scope out"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    words: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(network(dead=()), "in.onnx")
    assert main(["in.onnx", "out.onnx", "--no-race", *words.split()]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not Path("out.onnx").exists()


def test_the_profile_that_is_written_prunes_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(network(dead=()), "in.onnx")
    quick = ["--no-race", "--quiet", "--export", "gather"]
    assert main(["in.onnx", "a.onnx", "--params", "0.6", "--write-profile", "a.json", "--json", "r.json", *quick]) == 0
    (layer,) = json.loads(Path("a.json").read_text())["decisions"]
    assert layer == json.loads(Path("r.json").read_text())["profile"][0]
    assert (layer["weight"], layer["channels"]) == ("second", 16)
    assert 8 < layer["kept"] < 16
    assert main(["in.onnx", "b.onnx", "--profile", "a.json", "--write-profile", "b.json", *quick]) == 0
    assert Path("a.json").read_text() == Path("b.json").read_text()
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()
