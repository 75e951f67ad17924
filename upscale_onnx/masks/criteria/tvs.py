"""TVSPrune: how well the values of a channel tell the classes apart, by their total variation distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.types import Array, FloatArray, IntArray

_RIDGE = 1e-6


@dataclass(frozen=True)
class Sums:
    """Of each class: how many samples, and the sums of the channels' means and of their squares.

    count: (K,); first, second: (K, C).
    """

    count: FloatArray
    first: FloatArray
    second: FloatArray

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.count + other.count, self.first + other.first, self.second + other.second)


def measure(maps: Array, classes: IntArray, number: int) -> Sums:
    """Sums by class of each channel's mean over positions; maps: (N, C, ...); classes: (N,), from 0 to `number` - 1."""
    means = maps.astype(np.float64).reshape(*maps.shape[:2], -1).mean(axis=2)
    first, second = np.zeros((2, number, maps.shape[1]))
    np.add.at(first, classes, means)
    np.add.at(second, classes, np.square(means))
    return Sums(np.bincount(classes, minlength=number).astype(np.float64), first, second)


def score(sums: Sums) -> FloatArray:
    """Bhattacharyya distance of the two classes that a channel separates least; (C,).

    The means over positions of a class's samples are taken for normally distributed. With d the distance,
    1 - exp(-d) is the squared Hellinger distance, a lower bound on the total variation distance; d orders channels
    alike and does not saturate. Classes of fewer than two samples have no variance and are left out; where fewer
    than two classes are left, every channel scores 0.

    Source: Murti et al., "TVSPrune - Pruning Non-discriminative Filters via Total Variation Separability of
    Intermediate Representations without Fine Tuning", ICLR 2023: a filter is as discriminative as the total
    variation distance of its class-conditional outputs, least over pairs of classes, bounded from below by the
    Hellinger distance of normal distributions. There the distributions are of whole feature maps; their means need
    no memory that grows with the image, nor a covariance that a few samples cannot tell.
    """
    seen = sums.count >= 2
    count = sums.count[seen][:, None]
    channels = sums.first.shape[1]
    if len(count) < 2:
        return np.zeros(channels)
    mean = sums.first[seen] / count
    variance = np.maximum(sums.second[seen] / count - np.square(mean), 0) * count / (count - 1)
    # A class whose samples are all alike would be at an infinite distance from all others.
    spread = variance.mean(axis=0) + mean.var(axis=0)
    variance = variance + np.where(spread > 0, _RIDGE * spread, 1.0)
    closest = np.full(channels, np.inf)
    for i in range(len(mean) - 1):
        both = variance[i] + variance[i + 1 :]
        apart = np.square(mean[i] - mean[i + 1 :]) / (4 * both)
        wider = np.log(both / (2 * np.sqrt(variance[i] * variance[i + 1 :]))) / 2
        closest = np.minimum(closest, (apart + wider).min(axis=0))
    return closest
