"""The documentation's commands: found, planned for, and their options known. `make documented` runs them."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import onnx
import pytest

from tests.documented import plan
from tests.documented.commands import commands, documents
from tests.documented.material import classifier, write_material
from tests.lower_bounds import project
from upscale_onnx.cli.main import COMMANDS, make_parser
from upscale_onnx.pruning.criteria import CRITERIA

ROOT = Path(__file__).resolve().parents[2]

PAGE = """
# A page

Say `python -m upscale_onnx bench a.onnx b.onnx …`, or `make test`; `python -m upscale_onnx` is a name alone, as `make`.

    python -m upscale_onnx in.onnx 'out put.onnx'   # a comment
    load → verify, don't count

```sh
CUDA_VISIBLE_DEVICES= python -m venv there && there/bin/pip install "it>=0.8"
```

| command | |
|---|---|
| `upscale-onnx inspect --side input\\|output` | in a table |

    from upscale_onnx import compile
    compile(model)
"""


def test_commands_are_found_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    found = commands(tmp_path / "page.md", tmp_path)
    assert [command.text for command in found] == [
        "python -m upscale_onnx bench a.onnx b.onnx",
        "make test",
        "python -m upscale_onnx in.onnx 'out put.onnx'",
        "CUDA_VISIBLE_DEVICES= python -m venv there && there/bin/pip install 'it>=0.8'",
        "upscale-onnx inspect --side 'input|output'",
        "from upscale_onnx import compile\ncompile(model)\n",
    ]
    assert [command.is_python for command in found] == [False] * 5 + [True]
    assert found[0].where == "page.md:4"


def test_the_readme_shows_every_command() -> None:
    shown = {command.text for command in commands(ROOT / "README.md", ROOT)}
    for name in COMMANDS:
        words = "in.onnx out.onnx" if name == "compile" else f"{name} "
        assert any(text.startswith(f"python -m upscale_onnx {words}") for text in shown), name


@pytest.mark.parametrize("table", ["LEFT_OUT", "ADDED"])
def test_the_plan_speaks_of_documented_commands(table: str) -> None:
    texts = [command.text for document in documents(ROOT) for command in commands(document, ROOT)]
    for start in getattr(plan, table):
        assert any(f"{text} ".startswith(f"{start} ") for text in texts), f"{start!r} is documented nowhere"


def test_the_extras_that_are_named_exist() -> None:
    """pip only warns of one that does not."""
    texts = [document.read_text(encoding="utf-8") for document in documents(ROOT)]
    named = {
        name for text in texts for names in re.findall(r"upscale-onnx\[([\w,-]+)\]", text) for name in names.split(",")
    }
    assert {"torch", "search", "ray", "olive"} <= named <= project()["optional-dependencies"].keys()


def test_what_shortens_programs_stands_in_one() -> None:
    programs = [c.text for document in documents(ROOT) for c in commands(document, ROOT) if c.is_python]
    for words, instead in plan.SHORTENED.items():
        assert words != instead
        assert any(words in text for text in programs), words


def test_what_the_readme_says_of_the_compiler_is_run() -> None:
    left_out = [c.text for c in commands(ROOT / "README.md", ROOT) if plan.step(c).reason is not None]
    assert [text for text in left_out if "upscale_onnx" in text or text.startswith("pip")] == []


def test_options_in_the_readme_exist() -> None:
    known: set[str] = set()
    for name in COMMANDS:
        for action in make_parser(name)._actions:
            known.update(action.option_strings)
            assert action.help is not argparse.SUPPRESS
    spans = re.findall(r"`([^`]*)`", (ROOT / "README.md").read_text(encoding="utf-8"))
    named = {word for span in spans if not span.startswith(("pip", "make")) for word in re.findall(r"--[\w-]+", span)}
    assert named - known == set()


def test_the_material_is_sound(tmp_path: Path) -> None:
    write_material(tmp_path)
    onnx.checker.check_model(classifier(), full_check=True)
    assert (tmp_path / "FOLDER" / "network.onnx").is_file()


def test_every_criterion_is_described() -> None:
    page = (ROOT / "docs" / "criteria.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    described = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert set(CRITERIA) <= described
