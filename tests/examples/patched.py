"""The worked examples in docs/examples/: diffs that add something, each applied to a copy of this tree and tried."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PARTS = ("pyproject.toml", "upscale_onnx", "passes", "models", "tests")


def touched(name: str) -> list[str]:
    """The files that the diff `name` makes or changes."""
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("+++ b/") for line in lines if line.startswith("+++ ")]


def patched(name: str, folder: Path) -> Path:
    """A copy of this tree in `folder`, with the diff `name` applied to it."""
    tree = folder / "tree"
    tree.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, tree / part)
    # Inside of a repository git would take the paths of a diff for paths in that, and skip what it does not find.
    outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder)}
    _run(tree, outside, "git", "apply", "--whitespace=error", str(EXAMPLES / name))
    return tree


def run_python(tree: Path, *arguments: str) -> str:
    """What Python prints when it is run with these arguments in the copy, on the package that stands there."""
    return _run(tree, {**os.environ, "PYTHONPATH": str(tree)}, sys.executable, *arguments)


def _run(tree: Path, environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
