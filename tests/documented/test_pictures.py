"""The pictures of the documentation are those that the analysis gives now, and pages show all of them."""

from __future__ import annotations

import re

from tests.documented.programs import FOLDER, load

DOCS = FOLDER.parent


def test_the_pictures_are_those_that_the_program_draws() -> None:
    drawn = {picture.name: picture.read_text(encoding="utf-8") for picture in (DOCS / "pictures").iterdir()}
    assert drawn == load("pictures").pictures(), "draw them again: python docs/programs/pictures.py"
    shown = re.findall(r"\(pictures/([\w.]+)\)", (DOCS / "how_it_works.md").read_text(encoding="utf-8"))
    assert set(shown) == set(drawn)


def test_the_page_tells_what_the_pictures_show() -> None:
    """Two of three readers get one slice each, and in their original order none does."""
    program = load("pictures")
    report = program.detailed(program.upscale_onnx.compile(str(program.MODEL), export="upscale", race=False))
    reading = next(reading for reading in report.picture.readings if reading.value == program.SHARED)
    assert [
        sum(_is_slice(row.colours, program.READ) for row in rows)
        for rows in (program.masks(reading)[:-1], program.ordered(reading))
    ] == [0, 2]
    assert (reading.channels, reading.live, {demand.channels for demand in reading.demands}) == (32, 32, {20})


def _is_slice(colours: list[str], chosen: str) -> bool:
    return re.fullmatch("0*1+0*", "".join("1" if colour == chosen else "0" for colour in colours)) is not None
