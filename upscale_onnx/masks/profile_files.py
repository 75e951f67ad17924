"""Profiles in files: the share that each decision keeps, by the weights of the decision or by position.

What is written says of which side, method and structure it is, and is refused on another. A file can also be an object
of weight names or a list by position, and of earlier versions one of layers; these say nothing, and are taken at their
word. Names fit where the model has all of them; otherwise there must be as many entries as decisions, so that a profile
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
from upscale_onnx.masks.decisions import Decision, structure_of
from upscale_onnx.options import Method, Side
from upscale_onnx.results import KeptChannels


class Entry(NamedTuple):
    """The share that a decision keeps, and what is known of the decision."""

    share: float
    decision: Decision


@dataclasses.dataclass(frozen=True)
class ProfileFile:
    """The content of a file. side, method, structure: those of the pruning and the network it was found on; None where
    the file does not say. entries: by position. is_partial: whether entries have only names; decisions without an entry
    keep everything."""

    entries: tuple[Entry, ...]
    side: str | None = None
    method: str | None = None
    structure: str | None = None
    is_partial: bool = False


def profile_text(kept: Iterable[KeptChannels], side: Side, method: Method) -> str:
    """Return decisions as JSON that `read_profile` reads."""
    entries = [dataclasses.asdict(decision) for decision in kept]
    structure = structure_of((entry["channels"], entry["layers"]) for entry in entries)
    content = {"side": side, "method": settled_method(method), "structure": structure, "decisions": entries}
    return json.dumps(content, indent=1) + "\n"


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
        shares = [_share(file, f"entry {n}", value) for n, value in enumerate(content)]
        return ProfileFile(tuple(Entry(share, Decision(())) for share in shares))
    if not isinstance(content, dict):
        raise ArgumentError(f"{file}: a profile is an object of weight names or a list of shares")
    for key in ("decisions", "layers"):
        if isinstance(content.get(key), list):
            entries = tuple(_entry(file, f"{key}[{n}]", value) for n, value in enumerate(content[key]))
            return ProfileFile(entries, content.get("side"), content.get("method"), structure=content.get("structure"))
    return _by_weight({name: _share(file, repr(name), value) for name, value in content.items()})


def ratios_of(
    profile: str | Mapping[str, float], decisions: Sequence[Decision], side: Side, method: Method
) -> dict[str, float]:
    """The share (0 to 1) by weight that each of `decisions` keeps. profile: the path of a file, or shares by weight.

    Raises: ArgumentError where it cannot be used, or is about other decisions.
    """
    path = profile if isinstance(profile, str) else "the profile given"
    found = read_profile(profile) if isinstance(profile, str) else _by_weight(profile)
    for name, said, wanted in (("side", found.side, side), ("method", found.method, settled_method(method))):
        if said is not None and said != wanted:
            raise ArgumentError(f"{path}: the profile is for {name} {shortened(said)}, not for {wanted!r}")
    if found.structure not in (None, structure_of((one.channels, one.layers) for one in decisions)):
        raise ArgumentError(f"{path}: the profile is of another architecture: {_misfit(found.entries, decisions)}")
    owner = {weight: number for number, one in enumerate(decisions) for weight in one.weights}
    names = [weight for entry in found.entries for weight in entry.decision.weights]
    unknown = next((name for name in names if name not in owner), None)
    if found.is_partial and unknown is not None:
        raise ArgumentError(f"{path}: no layer that can be pruned has a weight {shortened(unknown)}")
    if unknown is None and all(entry.decision.weights for entry in found.entries) and found.entries:
        shares = _by_name(path, found.entries, owner)
    elif len(found.entries) == len(decisions):
        shares = {number: entry.share for number, entry in enumerate(found.entries)}
    else:
        raise ArgumentError(f"{path}: {_counts(found.entries, decisions)}")
    return {weight: shares.get(number, 1.0) for weight, number in owner.items()}


def _by_weight(shares: Mapping[str, float]) -> ProfileFile:
    return ProfileFile(tuple(Entry(share, Decision((name,))) for name, share in shares.items()), is_partial=True)


def _counts(entries: Sequence[Entry], decisions: Sequence[Decision]) -> str:
    there = f"the model {len(decisions)} layers, or groups of layers, that can be pruned"
    return f"the profile has {len(entries)} entries, {there}"


def _misfit(entries: Sequence[Entry], decisions: Sequence[Decision]) -> str:
    """The first decision that differs from the model's."""
    for number, (entry, ours) in enumerate(zip(entries, decisions, strict=False), 1):
        if str(entry.decision) != str(ours):
            return f"its entry {number} is of {entry.decision}, the model's of {ours} ({ours.weights[0]!r})"
    return _counts(entries, decisions)


def _by_name(path: str, entries: Sequence[Entry], owner: Mapping[str, int]) -> dict[int, float]:
    shares: dict[int, float] = {}
    by: dict[int, str] = {}
    for entry in entries:
        for weight in entry.decision.weights:
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
    layers, channels = value.get("layers", []), value.get("channels", 0)
    if not (_is_text(weights) and _is_text(layers) and isinstance(channels, int)):
        raise ArgumentError(f"{file}: {where} is no object with 'weights' and 'keep_ratio'")
    return Entry(_share(file, where, value.get("keep_ratio")), Decision(tuple(weights), channels, tuple(layers)))


def _is_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def _share(file: Path, where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ArgumentError(f"{file}: {where} keeps {shortened(value)}: it is a share from 0 to 1")
    return float(value)
