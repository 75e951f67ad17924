"""Scopes: how many channels each pool loses when an amount is taken of each alone, or of several together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.masks.pools import Pool
from upscale_onnx.masks.select import pruned_count
from upscale_onnx.types import FloatArray


@dataclass(frozen=True)
class Limits:
    """What holds in every scope. least: channels that each pool and each of its layers keeps, where it has as
    many. align: what a pool's kept count is rounded up to a multiple of."""

    least: int = 1
    align: int = 1

    def pruned(self, count: int, size: int) -> int:
        """How many of `size` may go where `count` are to."""
        kept = max(size - count, min(self.least, size), 1)
        return size - min(-(-kept // self.align) * self.align, size)


def together(pools: Sequence[Pool], amount: float, normalised: bool, limits: Limits) -> list[int]:
    """How many classes each pool loses where those of all `pools` are ranked together.

    As many are pruned, lowest first, as make up `amount` of all channels of the pools' layers; the best of each
    pool, which `limits` keeps, are passed over.

    normalised: whether the scores of each pool are divided by their mean first; without that, they must mean the
    same in every layer, as LAMP's do. The mean of a layer is 1 then, however wide it is. (By their L2 norm, as in
    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017, eq. 10,
    the channels of wide layers all rank below those of narrow ones.)
    """
    if not pools:
        return []
    budget = pruned_count(amount, sum(int(pool.channels.sum()) for pool in pools))
    ranked = [np.argsort(pool.scores, kind="stable")[: limits.pruned(pool.size, pool.size)] for pool in pools]
    scores = [_comparable(pool.scores, normalised)[order] for pool, order in zip(pools, ranked, strict=True)]
    owner = np.repeat(np.arange(len(pools)), [order.size for order in ranked])
    sizes = np.concatenate([pool.channels[order] for pool, order in zip(pools, ranked, strict=True)])
    order = np.argsort(np.concatenate(scores), kind="stable")
    lost = order[np.cumsum(sizes[order]) <= budget]
    counts = np.bincount(owner[lost], minlength=len(pools))
    return [limits.pruned(int(count), pool.size) for count, pool in zip(counts, pools, strict=True)]


def by_structure(
    pools: Sequence[Pool], structures: Mapping[str, Hashable], amount: float, normalised: bool, limits: Limits
) -> list[int]:
    """How many classes each pool loses where pools of the same structure are ranked together.

    structures: by weight, what tells whether layers are alike. A weight that is not there is like no other.

    Source: Fang et al., "Isomorphic Pruning for Vision Models", ECCV 2024, sec. 3.3.
    """
    alike: dict[Hashable, list[int]] = {}
    for number, pool in enumerate(pools):
        key = tuple(sorted((structures.get(weight, weight) for weight in pool.members), key=repr))
        alike.setdefault(key, []).append(number)
    counts = [0] * len(pools)
    for numbers in alike.values():
        found = together([pools[number] for number in numbers], amount, normalised, limits)
        for number, count in zip(numbers, found, strict=True):
            counts[number] = count
    return counts


def _comparable(scores: FloatArray, normalised: bool) -> FloatArray:
    finite = scores[np.isfinite(scores)]
    mean = float(np.abs(finite).mean()) if normalised and finite.size else 0.0
    return scores / mean if mean > 0 else scores
