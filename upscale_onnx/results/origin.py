"""What made a report: the command, the versions of the libraries, the machine, and the day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """command: the command line. versions: of this package and its libraries. machine: as `runtime.describe` has it.
    date: day and time, UTC."""

    command: str
    versions: Mapping[str, str]
    machine: Mapping[str, str | int]
    date: str
