"""How results look: a few lines of text, and a table in a notebook."""

from __future__ import annotations

from typing import Any


class Shown:
    """A result that prints as a few lines and that notebooks show as a table. `report.summary` makes both."""

    def __str__(self) -> str:
        from upscale_onnx.report.summary import text_of  # whoever only computes needs no report

        return text_of(self)

    def _repr_html_(self) -> str | None:
        """The table as HTML; None, so that a notebook shows the text, where Jinja2 is missing."""
        from upscale_onnx.report.summary import html_of

        return html_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the text where IPython would print all fields."""
        del cycle
        printer.text(str(self))
