"""The bounds of dependencies: each has a lower one, none pins a build, and the pinned versions lie within."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.lower_bounds import lower_bound, lowest, project

ROOT = Path(__file__).resolve().parents[1]


def requirements() -> list[Requirement]:
    """Of the package and of every extra."""
    table = project()
    listed = chain(table["dependencies"], *table["optional-dependencies"].values())
    return [needs for needs in map(Requirement, listed) if needs.name != table["name"]]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_dependency_has_a_lower_bound_and_pins_no_build(requirement: Requirement) -> None:
    assert lower_bound(requirement)
    assert {spec.operator for spec in requirement.specifier} <= {">=", "<"}


def test_the_pinned_versions_lie_within_the_bounds() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    here = {pin.name: next(iter(pin.specifier)).version for pin in pins if pin.marker is None or pin.marker.evaluate()}
    for requirement in requirements():
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(here[requirement.name]), requirement


def test_the_lowest_versions_are_those_of_the_bounds() -> None:
    wanted = [
        "one>=1.2",
        "two>=3; python_version < '3'",
        "onnxruntime-gpu>=4.5; python_version >= '3'",
        "three<9,>=8.1",
    ]
    assert lowest(wanted) == ["one==1.2", "onnxruntime==4.5", "three==8.1"]


def test_each_library_is_needed_once_on_every_machine() -> None:
    core = list(map(Requirement, project()["dependencies"]))
    for python in ("3.10", "3.11", "3.12"):
        for system, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("win32", "AMD64"), ("darwin", "arm64")):
            place = {"python_version": python, "sys_platform": system, "platform_machine": machine}
            names = [r.name for r in core if r.marker is None or r.marker.evaluate(dict(place))]
            assert sorted(names).count("onnxruntime") + sorted(names).count("onnxruntime-gpu") == 1
            assert len(set(names)) == len(names)
