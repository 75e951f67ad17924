"""The Dockerfile, as far as it can be checked without Docker: what it copies, installs and runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.lower_bounds import project

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docs" / "docker" / "Dockerfile"
LINES = FILE.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
# It stands beside the interpreter where pip installed it.
HADOLINT = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
STEPS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]


def of(instruction: str) -> list[str]:
    """The arguments of each such instruction, in order."""
    return [words for name, words in STEPS if name == instruction]


def test_the_base_is_one_version() -> None:
    (base,) = of("ARG")
    assert re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-\w+", base)
    assert [one.split()[0] for one in of("FROM")] == ["${BASE}", "${BASE}"]


def test_what_is_copied_exists_and_is_let_through() -> None:
    sources = [word for words in of("COPY") if "--from" not in words for word in words.split()[:-1]]
    kept = (ROOT / "docs/docker/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert [name for name in sources if not (ROOT / name).exists()] == []
    assert {f"!{name.rstrip('/')}" for name in sources} == {line for line in kept if line.startswith("!")}


def test_the_libraries_are_those_of_the_package() -> None:
    python = re.search(r"python:(3\.\d+)", of("ARG")[0])
    assert python
    place = {"python_version": python[1], "sys_platform": "linux", "platform_machine": "x86_64"}
    core = [r for r in map(Requirement, project()["dependencies"]) if r.marker is None or r.marker.evaluate(place)]
    install = next(words for words in of("RUN") if "constraints.txt" in words)
    listed = install.split("constraints.txt")[1].split("&&")[0].split()
    assert set(listed) == {one.name.removesuffix("-gpu") for one in core}


def test_it_runs_the_command_as_an_ordinary_user_without_pip() -> None:
    assert of("USER") == ["1000:1000"]
    assert json.loads(of("ENTRYPOINT")[0])[1:] == ["-m", "upscale_onnx"]
    last = STEPS[max(place for place, (name, _) in enumerate(STEPS) if name == "FROM") :]
    commands = " && ".join(words for name, words in last if name == "RUN")
    assert "pip uninstall --yes pip" in commands
    assert " install" not in commands


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_has_no_complaint(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN cd /tmp\n", encoding="utf-8")
    seen = subprocess.run([str(HADOLINT), str(tmp_path / "Dockerfile")], capture_output=True, text=True)
    assert "DL3006" in seen.stdout
    done = subprocess.run([str(HADOLINT), str(FILE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
