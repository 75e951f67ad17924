"""Profiles in files: the share that each decision keeps, by the weights of the decision or by position.

What is written says of which side and method it is, and is refused on another. A file can also be an object of weight
names or a list by position, and of earlier versions one of layers; these say neither, and are taken at their word.
Names fit where the model has all of them; otherwise there must be as many entries as decisions, so that a profile
found on one network can be applied to another of the same architecture.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.reading import read_json, shortened
from upscale_onnx.options import Method, Side
from upscale_onnx.results import KeptChannels


class Entry(NamedTuple):
    """The share that a decision keeps, and the weights of the decision, where they are known."""

    weights: tuple[str, ...]
    share: float


@dataclasses.dataclass(frozen=True)
class ProfileFile:
    """The content of a file. side, method: those of the pruning it was found on; None where the file does not say.
    entries: by position. is_partial: whether entries have only names; decisions without an entry keep everything."""

    entries: tuple[Entry, ...]
    side: str | None = None
    method: str | None = None
    is_partial: bool = False


def profile_text(kept: Iterable[KeptChannels], side: Side, method: Method) -> str:
    """Return decisions as JSON that `read_profile` reads."""
    entries = [dataclasses.asdict(decision) for decision in kept]
    return json.dumps({"side": side, "method": settled_method(method), "decisions": entries}, indent=1) + "\n"


def settled_method(method: Method) -> Method:
    """The method whose decisions the profile of `method` holds. Those of "hybrid" are made layer by layer."""
    return "constrained" if method == "constrained" else "unconstrained"


def read_profile(path: str | os.PathLike[str]) -> ProfileFile:
    """Read the profile in the file at `path`.

    Raises: ArgumentError where the file is missing or holds no shares.
    """
    file = Path(path)
    content = read_json(file, "profile")
    if isinstance(content, list):
        return ProfileFile(tuple(Entry((), _share(file, f"entry {n}", value)) for n, value in enumerate(content)))
    if not isinstance(content, dict):
        raise ArgumentError(f"{file}: a profile is an object of weight names or a list of shares")
    for key in ("decisions", "layers"):
        if isinstance(content.get(key), list):
            entries = tuple(_entry(file, f"{key}[{n}]", value) for n, value in enumerate(content[key]))
            return ProfileFile(entries, content.get("side"), content.get("method"))
    return _by_weight({name: _share(file, repr(name), value) for name, value in content.items()})


def ratios_of(
    profile: str | Mapping[str, float], decisions: Sequence[Sequence[str]], side: Side, method: Method
) -> dict[str, float]:
    """The share (0 to 1) by weight that each of `decisions` keeps. profile: the path of a file, or shares by weight.

    Raises: ArgumentError where it cannot be used, or is about other decisions.
    """
    path = profile if isinstance(profile, str) else "the profile given"
    found = read_profile(profile) if isinstance(profile, str) else _by_weight(profile)
    for name, said, wanted in (("side", found.side, side), ("method", found.method, settled_method(method))):
        if said is not None and said != wanted:
            raise ArgumentError(f"{path}: the profile is for {name} {shortened(said)}, not for {wanted!r}")
    owner = {weight: number for number, tied in enumerate(decisions) for weight in tied}
    names = [weight for entry in found.entries for weight in entry.weights]
    unknown = next((name for name in names if name not in owner), None)
    if found.is_partial and unknown is not None:
        raise ArgumentError(f"{path}: no layer that can be pruned has a weight {shortened(unknown)}")
    if unknown is None and all(entry.weights for entry in found.entries) and found.entries:
        shares = _by_name(path, found.entries, owner)
    elif len(found.entries) == len(decisions):
        shares = {number: entry.share for number, entry in enumerate(found.entries)}
    else:
        there = f"the model {len(decisions)} layers, or groups of layers, that can be pruned"
        raise ArgumentError(f"{path}: the profile has {len(found.entries)} entries, {there}")
    return {weight: shares.get(number, 1.0) for weight, number in owner.items()}


def _by_weight(shares: Mapping[str, float]) -> ProfileFile:
    return ProfileFile(tuple(Entry((name,), share) for name, share in shares.items()), is_partial=True)


def _by_name(path: str, entries: Sequence[Entry], owner: Mapping[str, int]) -> dict[int, float]:
    shares: dict[int, float] = {}
    by: dict[int, str] = {}
    for entry in entries:
        for weight in entry.weights:
            number = owner[weight]
            if shares.setdefault(number, entry.share) != entry.share:
                raise ArgumentError(
                    f"{path}: {by[number]!r} and {weight!r} lose their channels together, but keep {shares[number]:g} "
                    f"and {entry.share:g}: give them one share"
                )
            by.setdefault(number, weight)
    return shares


def _entry(file: Path, where: str, value: Any) -> Entry:
    if not isinstance(value, dict):
        raise ArgumentError(f"{file}: {where} is no object with 'weights' and 'keep_ratio'")
    weights = value.get("weights", [value["weight"]] if "weight" in value else [])
    if not isinstance(weights, list) or not all(isinstance(weight, str) for weight in weights):
        raise ArgumentError(f"{file}: {where} is no object with 'weights' and 'keep_ratio'")
    return Entry(tuple(weights), _share(file, where, value.get("keep_ratio")))


def _share(file: Path, where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ArgumentError(f"{file}: {where} keeps {shortened(value)}: it is a share from 0 to 1")
    return float(value)
