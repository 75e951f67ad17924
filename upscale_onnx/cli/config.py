"""Options in a TOML file: `--config FILE` reads them, `--print-config` prints those of a command line."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.reading import read_bounded, shortened

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST_BYTES = 2**20
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_NOT_HELD = ("config", "print-config", "help", "help-all", "version")


def with_config(words: Sequence[str], actions: Mapping[str, argparse.Action]) -> list[str]:
    """`words` with the options of the file that `--config` names in front, but for those that `words` give, too: the
    command line has the last word, also about options that may be given again.

    actions: the options of the command, by name, as "--amount".

    Raises: ArgumentError if the file cannot be read, or holds something that is no option.
    """
    path = _path(words)
    if path is None:
        return list(words)
    told = {actions.get(word.partition("=")[0]) for word in takewhile(lambda word: word != "--", words)}
    found: list[str] = []
    for name, value in _table(path).items():
        action = actions.get(f"--{name}")
        if action is None or name in _NOT_HELD:
            raise ArgumentError(f"{path}: there is no option {shortened(name)}")
        given = _words(action, name, value, path)  # a wrong value is refused, even one that is not needed
        if action not in told:
            found += given
    return [*found, *words]


def config_text(given: Mapping[str, Sequence[str]]) -> str:
    """The options that are `given`, by name and with their words, as TOML."""
    lines = []
    for name, values in given.items():
        if name.removeprefix("--") in _NOT_HELD:
            continue
        told = [_literal(value) for value in values]
        shown = "true" if not told else told[0] if len(told) == 1 else f"[{', '.join(told)}]"
        lines.append(f"{name.removeprefix('--')} = {shown}\n")
    return "".join(lines)


def _path(words: Sequence[str]) -> str | None:
    for place, word in enumerate(words):
        if word == "--":
            return None
        if word.startswith("--config="):
            return word.partition("=")[2]
        if word == "--config" and place + 1 < len(words):
            return words[place + 1]
    return None


def _table(path: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(read_bounded(Path(path), _MOST_BYTES).decode("utf-8"))
    except OSError as error:
        raise ArgumentError(f"{path}: cannot read the options: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{path}: the options are not TOML: {' '.join(str(error).split())[:200]}") from error


def _words(action: argparse.Action, name: str, value: Any, path: str) -> list[str]:
    """The words that give an option this value."""
    if isinstance(value, bool):
        if action.nargs != 0:
            raise ArgumentError(f"{path}: {name} takes a value, not {str(value).lower()}")
        return [f"--{name}"] if value else []
    items = value if isinstance(value, list) else [value]
    if action.nargs == 0 or not all(isinstance(item, str | int | float) for item in items):
        raise ArgumentError(f"{path}: {name} cannot be {shortened(value)}")
    if action.nargs not in (None, "?"):  # one option takes several values
        return [f"--{name}", *map(str, items)]
    return [f"--{name}={item}" for item in items]


def _literal(word: str) -> str:
    return word if _NUMBER.fullmatch(word) else json.dumps(word)
