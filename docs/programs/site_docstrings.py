"""How griffe reads docstrings: descriptions of fields and arguments become lists, examples become blocks of code.

Markdown would join the first to one text, and take the prompts of the second for quotations.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

# "amount: share of …", "params, macs: …" or `recipe (option "export"): …`, at the start of a line.
FIELD = re.compile(r"^((?:[a-z_]\w*)(?:, [a-z_]\w*)*)((?: \([^)\n]*\))?: )(?=\S)", re.MULTILINE)
EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Makes Markdown of what docstrings leave to the eye."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Edit the docstring of an object that was just read."""
        if obj.docstring is not None:
            listed = FIELD.sub(r"- `\1`\2", obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub(r"```pycon\n\g<0>\n```", listed)
