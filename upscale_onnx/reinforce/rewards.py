"""Rewards of an episode: how good an accuracy is at a compression. All other steps are worth 0.

The functions are the equations; the classes hold their constants and apply them to the outcome of an episode.

Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, section 4.1 and supplementary section 8.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

SEVERITY = 0.1
"""Sigma of the Gaussian reward as a share of the compression that is expected."""


@dataclass(frozen=True)
class Outcome:
    """What an episode ends with.

    accuracy, base_accuracy: of the pruned and of the unpruned network, 0 to 1. shares: what each decision keeps, 0 to
    1. params, macs: what is left of the unpruned network's parameters and multiply-accumulates, 0 to 1.
    """

    accuracy: float
    base_accuracy: float
    shares: tuple[float, ...]
    params: float
    macs: float

    @property
    def compression(self) -> float:
        """Parameters of the unpruned network over those that are left."""
        return 1.0 / self.params


class Reward(Protocol):
    """The reward of an outcome."""

    def __call__(self, outcome: Outcome) -> float:
        """The reward; the higher the better."""


def gaussian(accuracy: float, base_accuracy: float, compression: float, expected: float, sigma: float) -> float:
    """A / A_e * exp(-(C - C_e)^2 / (2 sigma^2)): equation 10.

    compression (C), expected (C_e) and sigma are of one unit. The reward is above 1 where the pruned network is better
    than the unpruned one. It is 0 where the unpruned one is never right.
    """
    return _ratio(accuracy, base_accuracy) * math.exp(-((compression - expected) ** 2) / (2 * sigma**2))


def ashok(accuracy: float, base_accuracy: float, kept: float) -> float:
    """A / A_e * (1 - C)^2: equation 14, with C the share (0 to 1) of the parameters that is left."""
    return _ratio(accuracy, base_accuracy) * (1 - kept) ** 2


def hyperbolic_compression(kept: float, expected: float, temperature: float) -> float:
    """The part of one layer that keeps the share `kept` (0 to 1) of its channels: equation 15. It is 0 where the layer
    keeps everything, 1 where it keeps nothing, and rises most around `expected`, a share that is removed."""
    return _stretched(1 - kept, expected, temperature)


def hyperbolic_accuracy(accuracy: float, base_accuracy: float, expected: float, temperature: float) -> float:
    """The part of the accuracy: equation 16. It is 0 for an accuracy of 0, 1 for that of the unpruned network, and
    rises most around `expected`, a share of it.

    The equation is printed without the division by tau in its first term; without it the value would not be 1 for the
    unpruned network.
    """
    return _stretched(_ratio(accuracy, base_accuracy), expected, temperature)


def hyperbolic(accuracy_part: float, compression_parts: Sequence[float]) -> float:
    """The part of the accuracy times the sum of the layers' parts: equation 17."""
    return accuracy_part * sum(compression_parts)


@dataclass(frozen=True)
class Gaussian:
    """Equation 10 with compression factors.

    expected: the factor to aim at, above 1. sigma: None is 0.1 of it. With more, a policy gains by staying below the
    factor. The source's figure has 0.3 where factors are replaced by shares.
    """

    expected: float
    sigma: float | None = None

    def __call__(self, outcome: Outcome) -> float:
        """The reward of `outcome`."""
        sigma = SEVERITY * self.expected if self.sigma is None else self.sigma
        return gaussian(outcome.accuracy, outcome.base_accuracy, outcome.compression, self.expected, sigma)


@dataclass(frozen=True)
class Ashok:
    """Equation 14 with the share of the parameters that is left."""

    def __call__(self, outcome: Outcome) -> float:
        """The reward of `outcome`."""
        return ashok(outcome.accuracy, outcome.base_accuracy, outcome.params)


@dataclass(frozen=True)
class Hyperbolic:
    """Equations 15 to 17.

    removed: the share of a layer's channels that is to go. accuracy: the share of the unpruned network's accuracy
    that is to stay. temperature: tau, which the source does not give.
    """

    removed: float = 0.8
    accuracy: float = 0.9
    temperature: float = 0.2

    def __call__(self, outcome: Outcome) -> float:
        """The reward of `outcome`."""
        parts = [hyperbolic_compression(share, self.removed, self.temperature) for share in outcome.shares]
        part = hyperbolic_accuracy(outcome.accuracy, outcome.base_accuracy, self.accuracy, self.temperature)
        return hyperbolic(part, parts)


def first_share(reward: Reward) -> float:
    """The share that an untrained policy keeps. Where a compression is aimed at, it is that with which layers that lose
    channels on both sides have it: near the aim, rewards differ for other reasons than the compression. Else a half."""
    return float(reward.expected**-0.5) if isinstance(reward, Gaussian) else 0.5


def _ratio(accuracy: float, base_accuracy: float) -> float:
    return accuracy / base_accuracy if base_accuracy > 0 else 0.0


def _stretched(value: float, middle: float, temperature: float) -> float:
    """A tanh around `middle`, moved and scaled so that it is 0 at 0 and 1 at 1."""
    low, high = math.tanh(middle / temperature), math.tanh((1 - middle) / temperature)
    return (math.tanh((value - middle) / temperature) + low) / (high + low)
