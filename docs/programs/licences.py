"""The licences of all libraries that an installation without extras brings, as a table in Markdown.

`python docs/programs/licences.py` prints the table of docs/licences.md; it reads what is installed beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def core() -> list[str]:
    """The libraries that the package itself asks for on this machine."""
    return needed(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"])


def needed(requirements: Iterable[str]) -> list[str]:
    """The names of those requirements that hold here, without extras."""
    found = map(Requirement, requirements)
    return [canonicalize_name(one.name) for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]


def closure(names: Iterable[str]) -> list[str]:
    """`names` and all that they need, in alphabetical order."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += needed(distribution(name).requires or ())
    return sorted(found)


def licence(name: str) -> str:
    """The licence that an installed library declares: as an expression, by its classifiers, or in a line of text."""
    declared = distribution(name).metadata
    if expression := declared.get("License-Expression"):
        return expression
    classifiers = [one for one in declared.get_all("Classifier", []) if one.startswith("License ::")]
    if classifiers:
        return ", ".join(one.rpartition(" :: ")[2] for one in classifiers)
    return (declared.get("License") or "not declared").strip().splitlines()[0]


def table() -> str:
    """The table: each library, its licence, and whether the package asks for it or another library does."""
    asked = core()
    rows = [f"| {one} | {licence(one)} | {'yes' if one in asked else ''} |\n" for one in closure(asked)]
    return "".join(("| library | licence | asked for by the package itself |\n", "|---|---|---|\n", *rows))


if __name__ == "__main__":
    print(table(), end="")
