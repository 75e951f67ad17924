"""The commands and programs that the documentation tells its readers to run, read from its Markdown."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

PROGRAMS = re.compile(r"([\w./-]*/)?(make|pip|python3?|upscale-onnx)$")
VARIABLE = re.compile(r"[A-Z_]+=")
ELLIPSES = ("…", "...")


@dataclass(frozen=True)
class Command:
    """A line for a shell, or a program in Python (`is_python`), and where it stands: "README.md:17"."""

    text: str
    where: str
    is_python: bool = False


def documents(root: Path) -> list[Path]:
    """Every Markdown file that tells how something is run: the README first, as a new user reads.

    The pages of commands are not among them: `test_commands.py` runs their examples.
    """
    named = [root / "README.md", root / "CONTRIBUTING.md", root / "models" / "README.md"]
    pages = (page for page in (root / "docs").rglob("*.md") if page.parent != root / "docs" / "commands")
    return [*named, *sorted(pages)]


def commands(document: Path, root: Path) -> list[Command]:
    """What `document` says to run, in its order: lines of blocks of code, and code within the text.

    A program's name alone is a mention of it, and no command.
    """
    tokens = MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))
    place = document.relative_to(root).as_posix()
    return [command for token in tokens for command in _of(token, place)]


def _of(token: Token, place: str) -> Iterator[Command]:
    where = f"{place}:{token.map[0] + 1}" if token.map else place
    if token.type in ("code_block", "fence") and re.match(r"(from|import) \w", token.content):
        yield Command(token.content, where, is_python=True)
    elif token.type in ("code_block", "fence"):
        yield from (Command(text, where) for line in token.content.splitlines() if (text := _command(line)))
    elif token.type == "inline":
        spans = [child.content for child in token.children or () if child.type == "code_inline"]
        yield from (Command(text, where) for span in spans if (text := _command(span)))


def _command(line: str) -> str | None:
    """`line` without its comment and ellipses where it begins with a program and says what that is to do."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe: prose, or a formula
        return None
    words = [word for word in words if word not in ELLIPSES]
    told = list(itertools.dropwhile(VARIABLE.match, words))
    if len(told) < 2 or not PROGRAMS.match(told[0]) or told[1:] == ["-m", "upscale_onnx"]:
        return None
    return shlex.join(words).replace("'&&'", "&&").replace("'>'", ">")
