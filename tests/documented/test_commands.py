"""The pages of commands say what the parsers say, and every option stands in an example that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documented.material import write_images, write_material
from tests.documented.programs import load
from upscale_onnx.cli.main import COMMANDS, main, make_parser

PROGRAM = load("commands")
EXAMPLES = PROGRAM.examples()
# What the examples of a command import.
NEEDED = {
    "bench": ("jinja2", "matplotlib"),
    "compile": ("jinja2", "matplotlib"),
    "experiment": ("torch",),
    "finetune": ("torch",),
    "inspect": ("jinja2", "matplotlib"),
    "paper": ("matplotlib", "torch"),
    "prune": ("torch",),
    "search": ("optuna", "torch"),
    "sensitivity": ("matplotlib",),
}
SLOW = ("compile", "experiment", "finetune", "paper", "search")


def test_the_pages_are_those_that_the_program_writes() -> None:
    written = {page.name: page.read_text(encoding="utf-8") for page in PROGRAM.FOLDER.glob("*.md")}
    assert written == PROGRAM.pages(), "write them again: python docs/programs/commands.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_an_example(name: str) -> None:
    given = {option for example in (*EXAMPLES[PROGRAM.COMMON], *EXAMPLES[name]) for option in example.given}
    known = {action.option_strings[-1] for action in make_parser(name)._actions if action.option_strings}
    assert known - given == set()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in EXAMPLES]
)
def test_the_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in NEEDED.get(name, ()):
        pytest.importorskip(module)
    write_material(tmp_path)
    write_images(tmp_path / "IMAGES")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ends = {example.run: main(example.words) for example in EXAMPLES[name] if not example.only_read}
    assert {run: code for run, code in ends.items() if code != 0} == {}
