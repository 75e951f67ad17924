"""Writes a result as one HTML file: no scripts, nothing fetched, every number taken from the result's JSON.

Names in models are untrusted. Jinja2 escapes them, and the page forbids browsers to run or fetch anything.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upscale_onnx.errors import ArgumentError, InternalError
from upscale_onnx.files.publish import NewFiles, write_whole
from upscale_onnx.report import numbers
from upscale_onnx.report.json import to_json
from upscale_onnx.report.page.words import MOST_ROWS, words_of
from upscale_onnx.report.plain import printable

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

_LONGEST = 200  # characters
_ENDINGS = (".html", ".htm")
_NEEDED = "a report needs Jinja2 and matplotlib: pip install 'upscale-onnx[report]'"
_FORMATS: Mapping[str, Callable[[Any], str]] = {
    "count": numbers.count,
    "bytes": numbers.size,
    "ms": numbers.milliseconds,
    "seconds": numbers.seconds,
    "percent": numbers.percent,
    "change": numbers.change,
    "number": numbers.significant,
}


def check_page(path: str | os.PathLike[str]) -> None:
    """Check that a page can be made, before anything is measured for it.

    Raises: ArgumentError if a library is missing or the name of the file has another ending.
    """
    if Path(path).suffix.lower() not in _ENDINGS:
        raise ArgumentError(f"{path}: a report is an HTML file; choose a name that ends in .html")
    try:
        import jinja2  # noqa: F401
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ArgumentError(_NEEDED) from error


def write_page(result: object, path: str | os.PathLike[str], files: NewFiles | None = None) -> None:
    """Write `page_html(result)` to `path`, now or together with `files`. The file is written whole or not at all.

    Raises: ArgumentError as in `check_page`, or if the file cannot be written.
    """
    check_page(path)
    write_whole(page_html(result).encode(), path, files)


def page_html(result: object) -> str:
    """The page of a Report, an Inspection, a Bench or the outcome of a search."""
    content = to_json(result)
    known = environment()
    name = f"{content['kind']}.html"
    if name not in known.list_templates():
        raise InternalError(f"no page can be made of {content['kind']}")
    shown = {"doc": content, "num": functools.partial(_number, content), **words_of(result, content)}
    return known.get_template(name).render(shown)


@functools.cache
def environment() -> jinja2.Environment:
    """Where templates are rendered: what they insert is escaped, and what they do not know is an error."""
    import jinja2

    from upscale_onnx.report.page import charts
    from upscale_onnx.report.page.strips import COLOURS, before_and_after

    known = jinja2.Environment(
        loader=jinja2.PackageLoader("upscale_onnx.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known.globals |= {
        "latency_chart": _trusted(charts.latency_chart),
        "operators_chart": _trusted(charts.operators_chart),
        "network_chart": _trusted(charts.network_chart),
        "front_chart": _trusted(charts.front_chart),
        "strips": before_and_after,
        "colours": COLOURS,
    }
    known.globals["most_rows"] = MOST_ROWS
    known.filters |= {"printable": _shown, "typeset": _typeset}
    return known


def _trusted(draw: Callable[..., str]) -> Callable[..., Markup]:
    """`draw`, whose SVG matplotlib has escaped already."""
    from markupsafe import Markup

    return lambda *args, **more: Markup(draw(*args, **more))


def _shown(text: str) -> str:
    """`text` without control characters, and of a length that a page can hold."""
    return printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\u2026")


def _typeset(text: str) -> str:
    """`text` with a multiplication sign and dashes between numbers, and no line end in front of a percent sign."""
    text = re.sub(r"(?<=\d)x ", "\u00d7 ", re.sub(r"(?<=\d)-(?=\d+\.\d+\))", "\u2013", text))
    return text.replace(" %", "\u00a0%")


def _number(content: Mapping[str, Any], path: str, form: str = "count") -> Markup:
    """The number at `path` in the JSON, as "race.timings.0.ratio": shown in short, with the exact value beside it."""
    from markupsafe import Markup

    value: Any = content
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    if value is None:
        return Markup("-")
    shown = _FORMATS[form](value) if isinstance(value, int | float) else str(value)
    return Markup('<data value="{}" data-path="{}">{}</data>').format(value, path, shown)
