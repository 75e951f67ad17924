"""The check of options against their annotations (choices, ranges, types), for Python and the command line alike."""

from __future__ import annotations

import reprlib
import types
from collections.abc import Callable, Hashable
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.options import Options
from upscale_onnx.options.options import option_name
from upscale_onnx.options.ranges import Range


def check_options(options: Options) -> None:
    """Check the value of every option.

    Raises:
        ArgumentError: the value of an option has the wrong type, is not one of its choices, or is out of range.
    """
    groups: tuple[Any, ...] = (options.export, options.target, options.prune, options.proof)
    for group in groups:
        check_group(group)


def check_group(group: Any) -> None:
    """Check the value of every option in `group`, a dataclass with annotations.

    Raises: ArgumentError as `check_options`.
    """
    hints = _hints(group.__class__)
    for part in fields(group):
        check_value(option_name(part), getattr(group, part.name), hints[part.name])


def check_value(name: str, value: Any, hint: Any) -> None:
    """Check a value that is called `name` in messages against its annotation.

    Raises: ArgumentError as `check_options`.
    """
    if not _fits(value, hint):
        nearest = did_you_mean(value, _choices(hint)) if isinstance(value, str) else ""
        raise ArgumentError(f"{name} is {reprlib.repr(value)}: it takes {_described(hint)}{nearest}")


@cache
def _hints(group: Hashable) -> dict[str, Any]:
    return get_type_hints(group, include_extras=True)


def _fits(value: Any, hint: Any) -> bool:
    """Whether `value` fits the annotation `hint`."""
    if hint in _PLAIN:
        kind = _PLAIN[hint][0]
        return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, limit = parts
        return _fits(value, base) and bool(limit.accepts(value))
    if origin is Literal:
        return isinstance(value, str) and value in parts
    if origin in _UNIONS:
        return any(_fits(value, part) for part in parts)
    if origin is Callable:
        return callable(value)
    if origin is not tuple:
        return isinstance(value, origin or hint)
    if not isinstance(value, (tuple, list)):
        return False
    if parts[-1] is Ellipsis:
        return all(_fits(item, parts[0]) for item in value)
    return len(value) == len(parts) and all(map(_fits, value, parts))


def _described(hint: Any) -> str:
    """The values that the annotation `hint` takes, in words."""
    if hint in _PLAIN:
        return _PLAIN[hint][1]
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        limit: Range = parts[1]
        return limit.wanted
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin in _UNIONS:
        return " or ".join(map(_described, parts))
    if origin is not tuple:
        return "a function"
    if parts[-1] is Ellipsis:
        return f"a tuple, each item {_described(parts[0])}"
    return f"({', '.join(map(_described, parts))})"


def _choices(hint: Any) -> list[str]:
    parts = get_args(hint)
    return list(parts) if get_origin(hint) is Literal else [name for part in parts for name in _choices(part)]


_UNIONS = (Union, types.UnionType)
# For each plain annotation, the types of its values, and the words for them.
_PLAIN: dict[Any, tuple[type, str]] = {
    type(None): (type(None), "None"),
    bool: (bool, "True or False"),
    int: (Integral, "an integer"),
    float: (Real, "a number"),
    str: (str, "text"),
}
