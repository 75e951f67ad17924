"""What a page says beside the numbers of the JSON: its title, and what its template needs for each kind of result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from upscale_onnx.report import headline
from upscale_onnx.report.bench_rows import short_names
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
        return {"title": _searched(content)}
    return {"title": _inspected(content), "readings": _readings(content)}


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

    return {"title": _raced(bench), "matching": matching, "picked": lambda places: [profiles[i] for i in places]}


def _raced(bench: Bench) -> str:
    """The fastest model of the first race, in words."""
    race = bench.races[0]
    names = short_names([timing.name for timing in race.timings])
    fastest = min(race.timings, key=lambda timing: timing.ratio)
    if fastest is race.timings[0]:
        return f"{names[fastest.name]} is the fastest"
    return f"{names[fastest.name]} is {headline.ratio_words(fastest)} than {names[race.timings[0].name]}"


def _inspected(content: Json) -> str:
    classes = sum(segment["classes"] for segment in content["segments"])
    idle = classes - sum(segment["live"] for segment in content["segments"])
    refused = len(content["refusals"])
    nodes = f"{refused} node{'' if refused == 1 else 's'} left alone"
    return f"{idle:,} of {classes:,} channels are read by none, {nodes}"


def _searched(content: Json) -> str:
    trials, best = content["trials"], len(content["front"])
    return f"{best:,} of {trials:,} profiles are on the front of {content['quality']} and {content['cost']}"
