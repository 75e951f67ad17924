"""Layer-wise profiles: which share of its channels each layer keeps.

By name they follow from one number; in a .json file they are an object of weight names, a list by position, or
what `write_profile` wrote, which fits by name where all names are there and by position otherwise: a profile found
on one network can so be applied to another of the same architecture.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.files.reading import read_json, shortened
from upscale_onnx.results import KeptChannels

_SLOPES = {"increasing": 1.0, "decreasing": -1.0}
_DEFAULT_SLOPE = 0.2
_RANDOM = (0.3, 0.9)
_HALVINGS = 60


def is_relative(profile: str) -> bool:
    """Whether the profile needs an amount that it is spread around.

    Raises: ArgumentError where it is neither a name nor the path of a .json file.
    """
    name, colon, slope = profile.partition(":")
    if name == "equal" and not colon:
        return True
    if name in _SLOPES:
        _slope(profile, slope if colon else str(_DEFAULT_SLOPE))
        return True
    if profile == "random" or profile.lower().endswith(".json"):
        return False
    raise ArgumentError(
        f"no profile called {profile!r}: use equal, increasing:SLOPE, decreasing:SLOPE, random or a .json file"
        + did_you_mean(name, ("equal", "random", *_SLOPES))
    )


def keep_ratios(profile: str, layers: Sequence[str], amount: float, seed: int = 0) -> dict[str, float]:
    """By weight, the share of its channels that each of `layers` (in graph order) keeps.

    "equal" is 1 - amount everywhere. "increasing:SLOPE" rises by SLOPE from the first layer to the last, at even
    steps around 1 - amount, "decreasing:SLOPE" falls; where a layer would keep more than all or less than nothing,
    the others make up for it. "random" draws each from U(0.3, 0.9) with `seed`; the others are a file's.

    Raises: ArgumentError where the profile or its file cannot be used.
    """
    name, _, slope = profile.partition(":")
    if not is_relative(profile):
        if profile != "random":
            return _of_file(profile, layers)
        values = np.random.default_rng(seed).uniform(*_RANDOM, len(layers))
    elif name == "equal":
        values = np.full(len(layers), 1.0 - amount)
    else:
        values = _sloped(1.0 - amount, _SLOPES[name] * _slope(profile, slope or str(_DEFAULT_SLOPE)), len(layers))
    return dict(zip(layers, values.tolist(), strict=True))


def read_profile(path: str | os.PathLike[str]) -> Mapping[str, float] | tuple[tuple[str | None, float], ...]:
    """What the file at `path` says: shares by weight, or by position with the weight each was found on, if known.

    Raises: ArgumentError where the file is missing or holds no shares.
    """
    file = Path(path)
    content = read_json(file, "profile")
    if isinstance(content, dict) and isinstance(content.get("layers"), list):
        return tuple(_entry(file, position, entry) for position, entry in enumerate(content["layers"]))
    if isinstance(content, list):
        return tuple((None, _share(file, f"layer {position}", value)) for position, value in enumerate(content))
    if isinstance(content, dict):
        return {name: _share(file, repr(name), value) for name, value in content.items()}
    raise ArgumentError(f"{file}: a profile is an object of weight names or a list of shares")


def profile_text(layers: Iterable[KeptChannels]) -> str:
    """The layers as JSON that `read_profile` reads."""
    entries = [dataclasses.asdict(layer) for layer in layers]
    return json.dumps({"layers": entries}, indent=1) + "\n"


def _of_file(path: str, layers: Sequence[str]) -> dict[str, float]:
    found = read_profile(path)
    if isinstance(found, Mapping):
        known = set(layers)
        unknown = next((name for name in found if name not in known), None)
        if unknown is not None:
            raise ArgumentError(f"{path}: no layer that can be pruned has a weight {unknown!r}")
        return {weight: found.get(weight, 1.0) for weight in layers}
    named = {name: share for name, share in found if name is not None}
    if found and named.keys() <= set(layers) and len(named) == len(found):
        return {weight: named.get(weight, 1.0) for weight in layers}
    if len(found) != len(layers):
        raise ArgumentError(f"{path}: the profile has {len(found)} layers, the model {len(layers)} that can be pruned")
    return {weight: share for weight, (_, share) in zip(layers, found, strict=True)}


def _sloped(mean: float, slope: float, count: int) -> NDArray[np.float64]:
    """`count` values in [0, 1], evenly `slope` apart from first to last, whose mean is `mean` after clipping."""
    offsets = slope * (np.linspace(0.0, 1.0, count) - 0.5)
    low, high = -abs(slope), 1.0 + abs(slope)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = float(np.clip(middle + offsets, 0.0, 1.0).mean()) < mean if count else False
        low, high = (middle, high) if below else (low, middle)
    return np.asarray(np.clip(high + offsets, 0.0, 1.0))


def _slope(profile: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ArgumentError(f"profile {profile!r}: the slope is a number of at least 0, as in increasing:0.2")
    return value


def _entry(file: Path, position: int, entry: Any) -> tuple[str | None, float]:
    if not isinstance(entry, dict) or not isinstance(entry.get("weight", ""), str):
        raise ArgumentError(f"{file}: layer {position} is no object with 'weight' and 'keep_ratio'")
    return entry.get("weight"), _share(file, f"layer {position}", entry.get("keep_ratio"))


def _share(file: Path, where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ArgumentError(f"{file}: {where} keeps {shortened(value)}: it is a share from 0 to 1")
    return float(value)
