"""Results as JSON: every field under its own name, nothing rounded, the same bytes for the same values.

`schema.py` has the schema of it, docs/report.schema.json is the schema as a file.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from upscale_onnx.errors import InternalError
from upscale_onnx.files.publish import NewFiles, write_whole

SCHEMA_VERSION = 3
"""The version of the format. It grows when a field is renamed, removed or changes its meaning, not for a new field."""


def to_json(value: object) -> dict[str, Any]:
    """`value`, a dataclass of results such as a Report, as a dict of plain JSON types.

    `schema_version` and `kind` (the name of the class, in lower case) come first, then the fields in their order. Enum
    members become their values. NaN and infinities, which JSON cannot hold, become "nan", "inf" and "-inf".

    Raises: InternalError if a field has a type that JSON cannot hold.
    """
    return {"schema_version": SCHEMA_VERSION, "kind": kind_of(type(value)), **_fields(value)}


def kind_of(result: type) -> str:
    """What JSON calls results of this class."""
    return result.__name__.lower()


def dump_json(value: object) -> str:
    """`to_json(value)` as indented text that ends in a newline."""
    return json.dumps(to_json(value), indent=2, allow_nan=False) + "\n"


def write_json(value: object, path: str | os.PathLike[str], files: NewFiles | None = None) -> None:
    """Write `dump_json(value)` to `path`, now or together with `files`. The file is written whole or not at all.

    Raises: ArgumentError if the file cannot be written.
    """
    write_whole(dump_json(value).encode(), path, files)


def _fields(value: object) -> dict[str, Any]:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise InternalError(f"no report can be made of {type(value).__name__}")
    return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}


def _plain(value: object) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return _fields(value)
