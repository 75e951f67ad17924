"""The oldest versions of the libraries that the package may be installed with, as requirements for pip.

`python -m tests.lower_bounds` prints them for this interpreter and machine; `make lower-bounds` tests with them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def project() -> dict[str, Any]:
    """The table "project" of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return table


def lowest(dependencies: Iterable[str]) -> list[str]:
    """`name==version` for those that are needed here; onnxruntime as its build for CPUs."""
    needed = [r for r in map(Requirement, dependencies) if r.marker is None or r.marker.evaluate()]
    return [f"{needs.name.removesuffix('-gpu')}=={lower_bound(needs)}" for needs in needed]


def lower_bound(requirement: Requirement) -> str:
    """The version behind the ">=" of `requirement`. Raises ValueError where there is not exactly one."""
    (bound,) = (spec.version for spec in requirement.specifier if spec.operator == ">=")
    return bound


if __name__ == "__main__":
    print(*lowest(project()["dependencies"]), sep="\n")
