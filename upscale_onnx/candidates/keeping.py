"""Which channels a decision keeps under a share."""

from __future__ import annotations

from typing import Literal

import numpy as np

from upscale_onnx.masks.pools import Pool
from upscale_onnx.masks.select import pruned_count
from upscale_onnx.types import BoolArray

Choice = Literal["scores", "exact", "bernoulli"]
"""How a decision's kept channels are chosen: those of the highest scores; as many, at random; or each by itself, with
the share as its probability, which keeps as many in the mean."""


def whole_units(share: float, channels: int, unit: int) -> float:
    """`share` of so many channels, rounded up to whole units of them."""
    kept = max(channels - pruned_count(1.0 - share, channels), 1)
    return min(-(-kept // unit) * unit, channels) / channels if unit > 1 else share


def kept_of(pool: Pool, share: float, choice: Choice, rng: np.random.Generator, least: int) -> BoolArray:
    """Mask (True = kept) over the classes of `pool`. least: how many channels each of its layers keeps."""
    count = pruned_count(1.0 - share, pool.size)
    if choice == "scores":
        return pool.kept(count, least)
    order = rng.permutation(pool.size)
    lost = order[:count] if choice == "exact" else np.flatnonzero(rng.random(pool.size) >= share)
    scores = np.ones(pool.size)
    scores[order] += np.arange(pool.size) / pool.size
    scores[lost] -= 2.0
    return Pool(scores, pool.members, {weight: scores[ids] for weight, ids in pool.members.items()}).kept(
        lost.size, least
    )
