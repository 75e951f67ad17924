"""The JSON Schema of reports, made of the dataclasses that are written.

Source: JSON Schema, draft 2020-12, https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

import enum
import inspect
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from upscale_onnx.errors import InternalError
from upscale_onnx.report.json import SCHEMA_VERSION, kind_of
from upscale_onnx.results import (
    Accuracy,
    Bench,
    Calibration,
    Course,
    Front,
    Inspection,
    Report,
    Sensitivity,
    Sparsity,
    Verification,
)
from upscale_onnx.results.differences import Differences

Json = dict[str, Any]

WRITTEN = (
    Report, Inspection, Verification, Differences, Bench, Calibration, Accuracy, Sensitivity, Sparsity, Course, Front,
)  # fmt: skip
"""The kinds of results that are written as JSON."""

_PLAIN: Mapping[Any, Json] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    # JSON has no word for numbers that are not finite.
    float: {"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]},
    type(None): {"type": "null"},
}


def schema() -> Json:
    """The schema of every JSON that `report.json.to_json` makes. Fields that are added later are valid, too."""
    found: dict[str, Json] = {}
    kinds = [_document(kind, found) for kind in WRITTEN]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A report of upscale_onnx",
        "description": "`schema_version` grows when a field is renamed, removed or changes its meaning, not for a new "
        "field. `kind` says which result it is.",
        "oneOf": kinds,
        "$defs": dict(sorted(found.items())),
    }


def _document(kind: type, found: dict[str, Json]) -> Json:
    """A whole file: the fields of `kind` behind its version and its name."""
    own = _fields_of(kind, found)
    first = {"schema_version": {"const": SCHEMA_VERSION}, "kind": {"const": kind_of(kind)}}
    return own | {"properties": first | own["properties"], "required": [*first, *own["required"]]}


def _fields_of(kind: type, found: dict[str, Json]) -> Json:
    hints = get_type_hints(kind)
    names = [part.name for part in fields(kind)]
    return {
        "title": kind.__name__,
        "description": (inspect.getdoc(kind) or "").partition(">>>")[0].strip(),
        "type": "object",
        "properties": {name: _of(hints[name], found) for name in names},
        "required": names,
    }


def _of(hint: Any, found: dict[str, Json]) -> Json:
    """The schema of a value with the annotation `hint`. Dataclasses are added to `found` by name."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(part, found) for part in parts]}
    if origin is Literal:
        return {"enum": list(parts)}
    if origin is tuple and parts[-1] is Ellipsis:
        return {"type": "array", "items": _of(parts[0], found)}
    if origin is tuple:
        items = [_of(part, found) for part in parts]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(parts[1], found)}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    if not is_dataclass(hint):
        raise InternalError(f"reports hold no {hint}")
    name = hint.__name__  # type: ignore[union-attr]
    if name not in found:
        found[name] = {}  # it may hold itself
        found[name] = _fields_of(hint, found)  # type: ignore[arg-type]
    return {"$ref": f"#/$defs/{name}"}
