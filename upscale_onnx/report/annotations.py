"""Annotations that a continuous integration shows beside the lines of a job, in the form that GitHub reads.

Source: GitHub, "Workflow commands for GitHub Actions", and `toolkit/packages/core/src/command.ts` for the escapes.
"""

from __future__ import annotations

from collections.abc import Mapping

_DATA: Mapping[int, str] = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY: Mapping[int, str] = {**_DATA, ord(":"): "%3A", ord(","): "%2C"}


def github_annotation(title: str, message: str, file: str) -> str:
    """A line that GitHub shows as an error about `file`. Whatever the texts hold, it is one line and one command."""
    told = f"file={file.translate(_PROPERTY)},title={title.translate(_PROPERTY)}"
    return f"::error {told}::{message.translate(_DATA)}\n"
