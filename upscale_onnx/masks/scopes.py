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
    """Limits of every scope. least: how many channels each pool and each of its layers keeps, where it has as many.
    align: the kept count of a pool is rounded up to a multiple of this number."""

    least: int = 1
    align: int = 1

    def pruned(self, count: int, size: int) -> int:
        """How many of `size` classes the limits let be pruned, when `count` are asked for."""
        kept = max(size - count, min(self.least, size), 1)
        return size - min(-(-kept // self.align) * self.align, size)


def together(pools: Sequence[Pool], amount: float, normalised: bool, limits: Limits) -> list[int]:
    """How many classes each pool loses when the classes of all `pools` are ranked together.

    The lowest classes are pruned until they make up `amount` of all channels of the pools' layers. The best classes
    of each pool, which `limits` keeps, are never pruned.

    normalised: whether the scores of each pool are divided by their mean first, so that the mean of every layer is 1,
    however wide it is. Other scores must mean the same in every layer, as LAMP's do. (Divided by their L2 norm, as in
    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017, eq. 10,
    the channels of wide layers all rank below those of narrow ones.)
    """
    if not pools:
        return []
    budget = pruned_count(amount, sum(int(pool.channels.sum()) for pool in pools))
    ranked = [np.argsort(pool.scores, kind="stable")[: limits.pruned(pool.size, pool.size)] for pool in pools]
    scores = [comparable(pool.scores, normalised)[order] for pool, order in zip(pools, ranked, strict=True)]
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

    structures: the structure of each weight. A weight that is not in it is like no other.

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


def comparable(scores: FloatArray, normalised: bool) -> FloatArray:
    """`scores` of one layer, where `normalised` divided by their mean."""
    finite = scores[np.isfinite(scores)]
    mean = float(np.abs(finite).mean()) if normalised and finite.size else 0.0
    return scores / mean if mean > 0 else scores
