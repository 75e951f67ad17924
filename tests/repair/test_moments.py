"""Means and variances of outputs: how much of the variance comes back."""

from __future__ import annotations

import numpy as np
import pytest

from upscale_onnx.repair.fit import Sample, Tail
from upscale_onnx.repair.moments import rescale
from upscale_onnx.types import Array

TAIL = Tail(np.ones((1, 1, 1)))
ALIVE = np.ones((1, 2, 1), np.bool_)


def sample(seed: int, noise: float, mean: float = 0.5) -> Sample:
    """One output that was u plus noise plus a mean, of a layer that still reads u (and a bias)."""
    rng = np.random.default_rng(seed)
    u, other = rng.normal(size=(2, 1, 4000, 1))
    goal = u + noise * other + mean
    return Sample(np.concatenate([u, np.ones_like(u)], axis=2), goal, np.zeros((1, 1, 1)))


def fitted(gain: float, noise: float) -> Array:
    """The weight and the bias found for a layer that makes `gain` times u."""
    start = np.array([[[gain], [0.0]]])
    return rescale(sample(0, noise), sample(1, noise), TAIL, start, ALIVE).ravel()


@pytest.mark.parametrize(("gain", "noise"), [(1.0, 1.0), (2.0, np.sqrt(3)), (0.25, 0.0), (4.0, 0.5)])
def test_variance_comes_back_as_far_as_the_output_follows_its_goal(gain: float, noise: float) -> None:
    """Full variance would be that of the noise, too: with a gain of 2 and noise of 1.7, it is there already."""
    assert fitted(gain, noise) == pytest.approx([1.0, 0.5], abs=0.1)


def test_an_output_that_is_constant_keeps_its_weight_and_gets_the_mean() -> None:
    assert fitted(0.0, 1.0) == pytest.approx([0.0, 0.5], abs=0.1)
