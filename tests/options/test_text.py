"""Options as text are what a file for `--config` holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from upscale_onnx.cli.compile import options_from
from upscale_onnx.cli.config import with_config
from upscale_onnx.cli.main import make_parser
from upscale_onnx.options import Options
from upscale_onnx.options.text import options_text

MANY = Options.of(
    amount=0.3,
    amounts=(("*.conv1.*", 0.5), ("fc", 0.0)),
    ignore=("head", "a\"b\\'\n"),
    masks="flat",
    mask_align=8,
    proofs=("global",),
    race=False,
    metadata=True,
    seed=7,
    side="output",
    steps=2,
    tune=1.5,
)


@pytest.mark.parametrize("options", [Options(), MANY, Options.of(verify=False, prefer="size")])
def test_a_file_gives_the_same_options(options: Options, tmp_path: Path) -> None:
    path = tmp_path / "options.toml"
    path.write_text(options_text(options), encoding="utf-8")
    parser = make_parser("compile")
    words = with_config(["in.onnx", "out.onnx", f"--config={path}"], parser.named)
    assert options_from(parser.parse_args(words)) == options


def test_no_folder_of_this_machine() -> None:
    told = options_text(Options.of(mask="/home/me/mask.npz", calibration="C:\\data\\c.npz", save_reproducer="/tmp/r"))
    assert told == 'mask = "mask.npz"\ncalibration = "c.npz"\n'


def test_what_a_file_cannot_hold_is_named() -> None:
    def mine(weight: object, axis: int, generator: object) -> object:
        return weight

    told = options_text(Options.of(amount=0.5, criterion=mine, calibration=np.zeros((1, 2)), profile={"w": 0.5}))
    assert told.splitlines() == [
        "amount = 0.5",
        'profile = "given in Python: profile"',
        'criterion = "given in Python: mine"',
        'calibration = "given in Python: samples"',
    ]
