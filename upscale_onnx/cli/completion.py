"""Completion in shells, by argcomplete. `eval "$(register-python-argcomplete upscale-onnx)"` turns it on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from upscale_onnx.cli.parser import Parser


def complete(commands: Mapping[str, Any], make_parser: Callable[[str], Parser]) -> None:
    """Answer a shell that asks for completions, and end the process; return at once if none asks."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete
    except ImportError:  # the shell gets no answer, and completes files
        return
    start = int(os.environ["_ARGCOMPLETE"])
    words = os.environ.get("COMP_LINE", "").split()[start:]
    name = words[0] if words and words[0] in commands else "compile"
    parser = make_parser(name)
    if name == words[0] if words else False:
        os.environ["_ARGCOMPLETE"] = str(start + 1)  # the command's own words begin behind its name
    else:
        first = next(action for action in parser._actions if not action.option_strings)
        files = argcomplete.completers.FilesCompleter()
        first.completer = lambda prefix, **more: [*commands, *files(prefix, **more)]  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)
