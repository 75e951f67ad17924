"""Options that have another name now. The old names work for one release, with a note on standard error."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

# By command: old names and new ones.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "compile": {"--masks": "--allocation", "--mask-align": "--kept-multiple", "--amounts": "--layer-amount"},
    "bench": {"--profile": "--operators"},
    "prune": {"--masked": "--write-masked", "--rounds": "--steps"},
    "sensitivity": {"--profile": "--write-profile"},
}


def with_new_names(command: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """`words` with new names for old options, and a note for each of these."""
    known, found, notes = RENAMED.get(command, {}), [], []
    options = [*itertools.takewhile(lambda word: word != "--", words)]
    for word, following in zip(options, [*options[1:], ""], strict=True):
        if command == "inspect" and word == "--json" and _is_no_report(following):
            notes.append("--json takes a file now, and - prints; without one it goes with the next release")
            found.append("--json=-")
            continue
        name, equals, value = word.partition("=")
        if name in known:
            notes.append(f"{name} is called {known[name]} now; the old name goes with the next release")
        found.append(f"{known.get(name, name)}{equals}{value}")
    return [*found, *words[len(options) :]], [*dict.fromkeys(notes)]


def _is_no_report(word: str) -> bool:
    """Whether the word behind --json is another argument: `inspect` once took the option without a file."""
    return word != "-" and (not word or word.startswith("-") or word.endswith(".onnx"))
