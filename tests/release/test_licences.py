"""The list of licences: complete, and what the installed libraries say."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from tests.lower_bounds import project

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """docs/programs/licences.py."""
    spec = importlib.util.spec_from_file_location("licences", ROOT / "docs" / "programs" / "licences.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_core_dependency_is_named() -> None:
    rows = dict(re.findall(r"^\| ([\w-]+) \| (.+?) \|", PAGE, re.MULTILINE))
    wanted = {Requirement(one).name for one in project()["dependencies"]} - {"tomli"}  # of Python 3.10
    assert wanted - {"onnxruntime"} <= rows.keys()
    assert [name for name, licence in rows.items() if licence == "not declared"] == []


def test_the_page_holds_what_the_program_prints(program: ModuleType) -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
    if sys.version_info < (3, 11) or sys.platform != "linux" or "onnxruntime-gpu" not in program.core():
        pytest.skip("the page lists what Linux on x86-64 gets, with Python 3.11 or newer")
    others = [name for name in program.closure(program.core()) if pins.get(name, version(name)) != version(name)]
    if others:
        pytest.skip(f"not the pinned version: {', '.join(others)}")
    assert program.table() in PAGE


def test_nothing_that_others_need_is_left_out(program: ModuleType) -> None:
    found = program.closure(["rich"])
    assert {"rich", "markdown-it-py", "mdurl", "pygments"} <= set(found)
