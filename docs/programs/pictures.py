"""Draw the pictures of docs/how_it_works.md from the analysis of a shipped network: `python docs/programs/pictures.py`.

A row of squares is a value, a square a channel. Colours are readable on light and on dark pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import upscale_onnx
from upscale_onnx.pipeline import detailed
from upscale_onnx.results import Reading

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "pictures"
MODEL = ROOT / "models" / "digits_inception_masked.onnx"
SHARED, CHAIN = "relu", "relu_2"
"""The value that three layers read, and one that a single layer reads."""

READ, HELD, GONE, TEXT = "#2563eb", "#93c5fd", "#9ca3af55", "#6b7280"
CELL, GAP, LABEL, ROW = 15, 2, 190, 24


@dataclass(frozen=True)
class Row:
    """A label, and the colour of each channel."""

    label: str
    colours: Sequence[str]


def pictures() -> dict[str, str]:
    """Each picture as SVG, by the name of its file."""
    report = detailed(upscale_onnx.compile(str(MODEL), export="upscale", race=False))
    assert report.picture is not None
    shared, chain = (next(r for r in report.picture.readings if r.value == name) for name in (SHARED, CHAIN))
    return {"masks.svg": _svg(masks(shared)), "ordered.svg": _svg(ordered(shared)), "chain.svg": _svg(shrunk(chain))}


def masks(reading: Reading) -> list[Row]:
    """What each reader demands, and what all of them do together, in the original order."""
    places = range(reading.channels)
    return [
        *_readers(reading, places),
        Row(f"all: {reading.live} of {reading.channels}", _marked(places, _listed(reading.live_runs), HELD)),
    ]


def ordered(reading: Reading) -> list[Row]:
    """What each reader demands, in the order in which the compiled value holds the channels."""
    return _readers(reading, _listed(reading.held_runs or ()))


def shrunk(reading: Reading) -> list[Row]:
    """What the reader of a value demands, before and after the compile."""
    (before,), held = _readers(reading, range(reading.channels)), _listed(reading.held_runs or ())
    (after,) = _readers(reading, held)
    return [Row(f"before: {reading.channels}", before.colours), Row(f"after: {len(held)}", after.colours)]


def _readers(reading: Reading, places: Sequence[int]) -> list[Row]:
    return [
        Row(f"{demand.node}: {demand.channels}", _marked(places, _listed(demand.runs), READ))
        for demand in reading.demands
    ]


def _marked(places: Iterable[int], chosen: Sequence[int], colour: str) -> list[str]:
    return [colour if place in chosen else GONE for place in places]


def _listed(runs: Iterable[tuple[int, int]]) -> list[int]:
    return [channel for first, size in runs for channel in range(first, first + size)]


def _svg(rows: Sequence[Row]) -> str:
    width = LABEL + max(len(row.colours) for row in rows) * (CELL + GAP)
    picture = ElementTree.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {len(rows) * ROW}", width=str(width)
    )
    for index, row in enumerate(rows):
        top = index * ROW
        label = ElementTree.SubElement(
            picture, "text", x="0", y=str(top + CELL), fill=TEXT, **{"font-family": "sans-serif", "font-size": "13"}
        )
        label.text = row.label
        for place, colour in enumerate(row.colours):
            left = LABEL + place * (CELL + GAP)
            size = str(CELL)
            ElementTree.SubElement(
                picture, "rect", x=str(left), y=str(top + 2), width=size, height=size, rx="2", fill=colour
            )
    ElementTree.indent(picture)
    return ElementTree.tostring(picture, encoding="unicode") + "\n"


def main() -> None:
    """Write the pictures."""
    for name, text in pictures().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
