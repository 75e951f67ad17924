"""Options as text: the lines of a file that `--config` reads, without folders of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import PureWindowsPath
from typing import Any

from upscale_onnx.options.options import Options, option_name

FLAGS = {"masks": "allocation", "mask_align": "kept-multiple", "amounts": "layer-amount", "proofs": "proof"}
"""Options that are called otherwise on the command line."""

# They name files to write, which decide about nothing.
_LEFT_OUT = ("save_reproducer",)


def flag_of(name: str) -> str:
    """What the option called `name` is called on the command line and in files, without dashes in front."""
    return FLAGS.get(name, name).replace("_", "-")


def options_text(options: Options) -> str:
    """The options that are not at their defaults, one line of TOML each. Of paths, the names of the files.

    Arrays, functions and mappings, which a file cannot hold, are named as what they are.
    """
    lines = dict.fromkeys(_lines(options))  # the seed stands in several groups
    return "".join(f"{line}\n" for line in lines)


def _lines(options: Options) -> Iterator[str]:
    usual = Options()
    for place in fields(options):
        group, defaults = getattr(options, place.name), getattr(usual, place.name)
        for part in fields(group):
            name, value = option_name(part), getattr(group, part.name)
            if value == getattr(defaults, part.name) or name in _LEFT_OUT:
                continue
            if value is False:  # race and verify, whose flags say no
                yield f"no-{flag_of(name)} = true"
            else:
                yield f"{flag_of(name)} = {_literal(name, value)}"


def _literal(name: str, value: Any) -> str:
    if name == "proofs":
        return json.dumps(",".join(value))
    if name == "amounts":
        return json.dumps([f"{pattern}={amount}" for pattern, amount in value])
    if isinstance(value, str):
        return json.dumps(value if "/" not in value and "\\" not in value else PureWindowsPath(value).name)
    if isinstance(value, (bool, int, float, tuple)):
        return json.dumps(value)
    return json.dumps(f"given in Python: {getattr(value, '__name__', type(value).__name__.lower())}")
