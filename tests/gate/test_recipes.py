"""The recipes of docs/check.md: what they run is a command that exists, with options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from upscale_onnx.cli.main import make_parser, split_command

yaml = pytest.importorskip("yaml", reason="the recipes are YAML; PyYAML comes with optuna")
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "check.md").read_text(encoding="utf-8")
WORKFLOW, HOOKS = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))


def parsed(words: list[str]) -> Any:
    """The arguments of `python -m upscale_onnx`, as its parser reads them."""
    assert words[:3] == ["python", "-m", "upscale_onnx"]
    name, rest = split_command(words[3:])
    assert name == "check"
    return make_parser(name).parse_args(rest)


def test_the_workflow() -> None:
    command = WORKFLOW["jobs"]["check"]["steps"][-1]["run"].splitlines()[-1]
    args = parsed(shlex.split(command))
    assert args.annotations == "github"
    assert all((Path(__file__).resolve().parents[2] / model).is_file() for model in args.models)


def test_the_hook_takes_all_models_of_a_commit() -> None:
    hook = HOOKS["repos"][0]["hooks"][0]
    args = parsed([*shlex.split(hook["entry"]), *hook["args"], "a.onnx", "b/c.onnx"])
    assert args.models == ["a.onnx", "b/c.onnx"]
    assert args.fail_on == ("unchanged", "unproven")
    assert re.search(hook["files"], "b/c.onnx")
    assert not re.search(hook["files"], "b/onnx.py")
