"""Write the pages of docs/commands: every option of every command, as its parser has it, with examples that tests run.

python docs/programs/commands.py
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from upscale_onnx.cli.arguments import add_common
from upscale_onnx.cli.main import COMMANDS, make_parser, split_command
from upscale_onnx.cli.parser import Parser

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).resolve().parents[1] / "commands"
COMMON = "common"
"""The examples of options that all commands have."""


@dataclass(frozen=True)
class Example:
    """A command, and what it does. `only_read` says why tests parse it alone."""

    says: str
    run: str
    only_read: str = ""

    @property
    def words(self) -> list[str]:
        """The arguments of the program."""
        return shlex.split(self.run)

    @property
    def given(self) -> dict[str, list[str]]:
        """The words of each option that it gives, by the option's long name."""
        name, rest = split_command(self.words)
        parser = make_parser(name)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):  # --help and --version
            parser.parse_args(rest)
        return parser.given


def examples() -> dict[str, list[Example]]:
    """The examples of each command."""
    read = tomllib.loads((FOLDER / "examples.toml").read_text(encoding="utf-8"))
    return {name: [Example(**entry) for entry in entries] for name, entries in read.items()}


def common_options() -> set[str]:
    """The long names of the options that all commands have."""
    parser = Parser()
    add_common(parser)
    return {action.option_strings[-1] for action in parser._actions}


def pages() -> dict[str, str]:
    """The text of each page, by the name of its file."""
    shown = examples()
    return {"README.md": _index(shown[COMMON]), **{f"{name}.md": _page(name, shown[name]) for name in COMMANDS}}


def _index(shown: Sequence[Example]) -> str:
    rows = [f"| [{name}]({name}.md) | {_cell(COMMANDS[name].SUMMARY)} |" for name in COMMANDS]
    options = [a for a in make_parser("inspect")._actions if _long(a) in common_options()]
    blocks = [
        "# Commands",
        "Each command has a page with all of its options. `compile` is the command if no other is named. The examples "
        "take a classifier `in.onnx`, labelled images `data.npz` and other such files; put your own in their places.",
        "\n".join(["| command | what it does |", "| --- | --- |", *rows]),
        "## Options of all commands",
        _table(make_parser("inspect"), options, shown),
        *_listed(shown),
    ]
    return "\n\n".join(blocks) + "\n"


def _page(name: str, shown: Sequence[Example]) -> str:
    parser, common = make_parser(name), common_options()
    places = [action for action in parser._actions if not action.option_strings]
    program = f"python -m upscale_onnx {'' if name == 'compile' else f'{name} '}"
    named = " ".join(_metavar(parser, action) for action in places)
    told = [f"| `{_metavar(parser, a)}` | {_cell(_help(parser, a))} |" for a in places]
    blocks = [
        f"# {name}",
        f"{_capital(COMMANDS[name].SUMMARY)}.",
        f"    {program}[options] {named}",
        "\n".join(["| argument | what it is |", "| --- | --- |", *told]),
    ]
    for group in parser._action_groups:
        options = [a for a in group._group_actions if a.option_strings and _long(a) not in common]
        if options:
            title, _, more = str(group.title).partition(": ")
            said = [f"{_capital(more)}."] if more else []
            blocks += [f"## {_capital(title)}", *said, _table(parser, options, shown)]
    blocks += ["There are also the [options of all commands](README.md#options-of-all-commands).", "## Examples"]
    return "\n\n".join([*blocks, *_listed(shown)]) + "\n"


def _table(parser: Parser, options: Sequence[argparse.Action], shown: Sequence[Example]) -> str:
    given = [example.given for example in shown]
    rows = [f"| {_names(parser, a)} | {_cell(_help(parser, a))} | {_first(a, given)} |" for a in options]
    return "\n".join(["| option | what it does | for example |", "| --- | --- | --- |", *rows])


def _first(action: argparse.Action, given: Sequence[Mapping[str, list[str]]]) -> str:
    words = next((found[_long(action)] for found in given if _long(action) in found), [])
    return f"`{_cell(shlex.join([_long(action), *words]))}`"


def _listed(shown: Sequence[Example]) -> Iterator[str]:
    for example in shown:
        yield f"{example.says}:"
        yield f"    python -m upscale_onnx {example.run}"


def _names(parser: Parser, action: argparse.Action) -> str:
    value = f" {_metavar(parser, action)}" if action.nargs != 0 else ""
    return _cell(", ".join(f"`{name}{value}`" for name in action.option_strings))


def _metavar(parser: Parser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    return formatter._format_args(action, formatter._get_default_metavar_for_optional(action))


def _help(parser: Parser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _long(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else ""


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
