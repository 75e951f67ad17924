"""Layer-wise profiles: the share of its channels that each decision keeps.

By name, profiles follow from one number; others stand in a file (`profile_files`).

Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, sec. 3, for equal, increasing, decreasing and
random profiles: increasing ones have "less pruning on initial layers and more pruning on final layers".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.masks.decisions import Decision
from upscale_onnx.masks.profile_files import ratios_of
from upscale_onnx.options import Method, Side
from upscale_onnx.types import FloatArray

# Of what is kept, from the first decision to the last.
_SLOPES = {"increasing": -1.0, "decreasing": 1.0}
_DEFAULT_SLOPE = 0.2
_RANDOM = (0.3, 0.9)
_HALVINGS = 60


def is_relative(profile: str | Mapping[str, float]) -> bool:
    """Whether the profile is spread around an amount, which then must be given.

    Raises: ArgumentError where it is neither a name nor the path of a .json file.
    """
    if not isinstance(profile, str):
        return False
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


def keep_ratios(
    profile: str | Mapping[str, float],
    decisions: Sequence[Decision],
    amount: float,
    seed: int = 0,
    side: Side = "input",
    method: Method = "unconstrained",
) -> dict[str, float]:
    """The share (0 to 1) of its channels that each of `decisions`, in graph order, keeps, by weight.

    "equal" is 1 - amount everywhere. "increasing:SLOPE" prunes SLOPE more of the last than of the first, at even steps
    around `amount`, "decreasing:SLOPE" less; where more than all or less than nothing would be kept, the others make up
    for it. "random" draws each from U(0.3, 0.9) with `seed`; the others are a file's, of this `side` and `method`, or
    given by weight.

    Raises: ArgumentError where the profile or its file cannot be used.
    """
    if not isinstance(profile, str) or (not is_relative(profile) and profile != "random"):
        return ratios_of(profile, decisions, side, method)
    name, _, slope = profile.partition(":")
    if name == "random":
        values = np.random.default_rng(seed).uniform(*_RANDOM, len(decisions))
    elif name == "equal":
        values = np.full(len(decisions), 1.0 - amount)
    else:
        values = _sloped(1.0 - amount, _SLOPES[name] * _slope(profile, slope or str(_DEFAULT_SLOPE)), len(decisions))
    return {weight: share for one, share in zip(decisions, values.tolist(), strict=True) for weight in one.weights}


def _sloped(mean: float, slope: float, count: int) -> FloatArray:
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
