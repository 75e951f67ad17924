"""How griffe reads docstrings: paragraphs that describe fields become lists; Markdown would join them to one text."""

from __future__ import annotations

import re
from typing import Any

import griffe

# "amount: share of …", "params, macs: …" or `recipe (option "export"): …`, at the start of a line.
FIELD = re.compile(r"^((?:[a-z_]\w*)(?:, [a-z_]\w*)*)((?: \([^)\n]*\))?: )(?=\S)", re.MULTILINE)


class Fields(griffe.Extension):
    """Makes lists of the fields that docstrings of classes describe."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Edit the docstring of a class that was just read."""
        if cls.docstring is not None:
            cls.docstring.value = FIELD.sub(r"- `\1`\2", cls.docstring.value)
