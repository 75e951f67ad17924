"""How griffe reads docstrings: descriptions of fields and arguments become lists, examples become blocks of code.

Markdown would join the first to one text, as it does a list right behind a line, and take the prompts of the second for
quotations.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

# "amount: share of …", "params, macs: …" or `recipe (option "export"): …`, at the start of a line.
FIELD = re.compile(r"^((?:[a-z_]\w*)(?:, [a-z_]\w*)*)((?: \([^)\n]*\))?: )(?=\S)", re.MULTILINE)
# A line of text right in front of a list.
LEAD = re.compile(r"^(?!- |\s)(.+)\n(?=- )", re.MULTILINE)
EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Makes Markdown of what docstrings leave to the eye."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Edit the docstring of an object that was just read."""
        if obj.docstring is not None:
            apart = LEAD.sub(r"\1\n\n", obj.docstring.value)
            listed = FIELD.sub(r"- `\1`\2", apart)
            obj.docstring.value = EXAMPLE.sub(r"```pycon\n\g<0>\n```", listed)
