"""What a page says beside the numbers of the JSON: its title, and what its template needs for each kind of result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from upscale_onnx.report import headline
from upscale_onnx.report.sentences import sentence
from upscale_onnx.results import Bench, Report

Json = Mapping[str, Any]

# What is drawn, so that the page of the largest network opens at once: rows of a table, pixels of all strips together.
MOST_ROWS = 400
_MOST_PIXELS = 500_000
_SIZES = {"file size": ("bytes", "bytes"), "parameters": ("parameters", "count"), "MACs": ("macs", "count")}


def words_of(result: object, content: Json) -> dict[str, Any]:
    """What the template for `result` needs beside `content`, its JSON."""
    if isinstance(result, Report):
        return _compile(result, content)
    if isinstance(result, Bench):
        return _bench(result, content)
    if content["kind"] == "front":
        return {"title": sentence(result)}
    return {"title": sentence(result), "readings": _readings(content)}


def _compile(report: Report, content: Json) -> dict[str, Any]:
    sources = {what: (f"before.{name}", f"after.{name}", form) for what, (name, form) in _SIZES.items()}
    raced = headline.raced(report)
    if raced is not None:
        names = [timing["name"] for timing in content["race"]["timings"]]
        median = "race.timings.{}.median_ms"
        sources["latency"] = (median.format(0), median.format(names.index(report.export)), "ms")
    return {
        "headline": headline.headline(report),
        "next_step": headline.next_step(report),
        "outcome": headline.outcome(report),
        "sources": sources,
        "readings": _readings(content),
        # A prediction that the race has beaten says nothing.
        "has_bound": report.bound_ratio is not None and raced is not None and raced[1].ratio > report.bound_ratio,
        "effect_text": "" if report.effect is None else report.effect.text,
    }


def _readings(content: Json) -> dict[int, list[int]]:
    """By segment, the places of the readings that are drawn: the first ones, as many as a page holds."""
    found: dict[int, list[int]] = {}
    pixels = 0
    for place, reading in enumerate(content["picture"]["readings"] if content["picture"] else ()):
        pixels += reading["channels"] * len(reading["demands"])
        if pixels > _MOST_PIXELS:
            break
        found.setdefault(reading["segment"], []).append(place)
    return found


def _bench(bench: Bench, content: Json) -> dict[str, Any]:
    profiles = content["profiles"]

    def matching(race: Json) -> list[int]:
        """The places of the race's profiles among all."""
        wanted = (race["batch"], race["threads"])
        return [i for i, profile in enumerate(profiles) if (profile["batch"], profile["threads"]) == wanted]

    return {"title": sentence(bench), "matching": matching, "picked": lambda places: [profiles[i] for i in places]}
