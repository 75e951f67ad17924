"""Landscapes of rewards: the reward at every accuracy and compression, as the source draws them (figures 9 to 11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from upscale_onnx.reinforce.rewards import Hyperbolic, Outcome, ashok, gaussian
from upscale_onnx.types import FloatArray


@dataclass(frozen=True, eq=False)
class Landscape:
    """rewards: (accuracies, compressions), the reward at each pair of them. compression: what the axis says."""

    title: str
    accuracies: FloatArray
    compressions: FloatArray
    rewards: FloatArray
    compression: str


def gaussian_landscape(
    expected: float = 0.5, sigma: float = 0.3, base_accuracy: float = 0.9, points: int = 51
) -> Landscape:
    """Figure 9: the Gaussian reward (equation 10), with compression as a share from 0 to 1."""
    return _landscape(
        "Gaussian reward", "compression C", points, lambda a, c: gaussian(a, base_accuracy, c, expected, sigma)
    )


def ashok_landscape(base_accuracy: float = 0.9, points: int = 51) -> Landscape:
    """Figure 10: the reward of Ashok et al. (equation 14), by the share of parameters that is left."""
    return _landscape("Reward of Ashok et al.", "parameters left", points, lambda a, c: ashok(a, base_accuracy, c))


def hyperbolic_landscape(chosen: Hyperbolic | None = None, points: int = 51) -> Landscape:
    """Figure 11: the hyperbolic reward (equations 15 to 17) of one layer, by the share of channels that is removed."""
    reward = chosen or Hyperbolic()
    return _landscape(
        "Hyperbolic reward",
        "channels removed",
        points,
        lambda a, c: reward(Outcome(a, 1.0, (1 - c,), max(1 - c, 1e-9), 1 - c)),
    )


def _landscape(title: str, compression: str, points: int, reward: Callable[[float, float], float]) -> Landscape:
    grid = np.linspace(0.0, 1.0, points)
    rewards = np.array([[reward(float(a), float(c)) for c in grid] for a in grid])
    return Landscape(title, grid, grid, rewards, compression)
