"""Taylor expansion: how much the loss would change, to first order, without a channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array, FloatArray


@dataclass(frozen=True)
class Settings:
    """What "taylor" may be told behind colons, as in "taylor:norm=l2:flops=1e-3".

    norm: "l2" divides the scores of a layer by their L2 norm. flops: what a million floating-point operations per
    sample are worth, in units of the (normalised) score. power: 1 for the mean magnitude of the change of each
    sample, 2 for its mean square.
    """

    norm: str = "none"
    flops: float = 0.0
    power: int = 1


def settings(words: Mapping[str, str]) -> Settings:
    """The settings of these words.

    Raises: ArgumentError where a word or its value is unknown.
    """
    if unknown := sorted(words.keys() - {"norm", "flops", "power"}):
        raise ArgumentError(f"criterion 'taylor' takes norm, flops and power, not {unknown[0]!r}")
    norm, flops, power = (words.get(name, other) for name, other in (("norm", "none"), ("flops", "0"), ("power", "1")))
    if norm not in ("l2", "none"):
        raise ArgumentError(f"criterion 'taylor' takes norm=l2 or norm=none, not norm={norm}")
    if power not in ("1", "2"):
        raise ArgumentError(f"criterion 'taylor' takes power=1 or power=2, not power={power}")
    try:
        price = float(flops)
    except ValueError:
        price = -1.0
    if not 0 <= price < np.inf:
        raise ArgumentError(f"criterion 'taylor' takes a number of at least 0 as flops, not flops={flops}")
    return Settings(norm, price, int(power))


def measure(changes: Array, power: int) -> FloatArray:
    """Sum over samples of |change|^power; changes: (N, C), value times gradient summed over positions; returns (C,).

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017,
    equation 8, without the division by the number of positions, which the layer-wise norm cancels and without which
    scores are changes of the loss and can be compared between layers; with power 2, Molchanov et al., "Importance
    Estimation for Neural Network Pruning", CVPR 2019, equation 8, on gates (section 3.3), by samples.
    """
    return np.asarray((np.abs(changes.astype(np.float64)) ** power).sum(axis=0))


def score(total: FloatArray, samples: int, megaflops: float, chosen: Settings) -> FloatArray:
    """Mean change, of the sum `total` over `samples`, normalised and less the price of what a channel computes.

    megaflops: per channel and sample, a multiply-accumulate being two; it is the same for all channels of a layer.

    Source: Molchanov et al., ICLR 2017, the layer-wise l2 normalisation of section 2.2 and the regularisation by
    FLOPs of equation 13.
    """
    mean = total / max(samples, 1)
    length = float(np.linalg.norm(mean)) if chosen.norm == "l2" else 0.0
    return np.asarray((mean / length if length > 0 else mean) - chosen.flops * megaflops)
