"""Rewards, against values that are computed by hand."""

from __future__ import annotations

import math

import pytest

from upscale_onnx.reinforce.landscapes import ashok_landscape, gaussian_landscape, hyperbolic_landscape
from upscale_onnx.reinforce.rewards import (
    Ashok,
    Gaussian,
    Hyperbolic,
    Outcome,
    ashok,
    gaussian,
    hyperbolic,
    hyperbolic_accuracy,
    hyperbolic_compression,
)


def test_gaussian() -> None:
    # 0.72 / 0.9 = 0.8; (0.8 - 0.5)^2 / (2 * 0.3^2) = 0.09 / 0.18 = 0.5; exp(-0.5) = 0.606531
    assert gaussian(0.72, 0.9, 0.8, 0.5, 0.3) == pytest.approx(0.8 * 0.606531, abs=1e-6)
    # at the expected compression only the accuracies count; better than the unpruned network is above 1
    assert gaussian(0.99, 0.9, 4.0, 4.0, 0.3) == pytest.approx(1.1)
    assert gaussian(0.5, 0.0, 4.0, 4.0, 0.3) == 0.0


def test_ashok() -> None:
    # 0.45 / 0.9 = 0.5; (1 - 0.2)^2 = 0.64
    assert ashok(0.45, 0.9, 0.2) == pytest.approx(0.32)


def test_hyperbolic_compression() -> None:
    # removed 0.6, C_e 0.8, tau 0.5: tanh(-0.4) = -0.379949, tanh(1.6) = 0.921669, tanh(0.4) = 0.379949
    # (-0.379949 + 0.921669) / (0.379949 + 0.921669) = 0.541720 / 1.301618 = 0.416190
    assert hyperbolic_compression(0.4, 0.8, 0.5) == pytest.approx(0.416190, abs=1e-6)
    assert hyperbolic_compression(1.0, 0.8, 0.5) == 0.0
    assert hyperbolic_compression(0.0, 0.8, 0.5) == pytest.approx(1.0)


def test_hyperbolic_accuracy() -> None:
    # 0.72 / 0.9 = 0.8, A_e 0.9, tau 0.5: tanh(-0.2) = -0.197375, tanh(1.8) = 0.946806, tanh(0.2) = 0.197375
    # (-0.197375 + 0.946806) / (0.197375 + 0.946806) = 0.749431 / 1.144181 = 0.654993
    assert hyperbolic_accuracy(0.72, 0.9, 0.9, 0.5) == pytest.approx(0.654993, abs=1e-6)
    assert hyperbolic_accuracy(0.9, 0.9, 0.9, 0.5) == pytest.approx(1.0)


def test_hyperbolic_sums_over_layers() -> None:
    assert hyperbolic(0.5, [0.25, 0.5, 0.75]) == pytest.approx(0.75)


def test_rewards_of_an_outcome() -> None:
    found = Outcome(accuracy=0.72, base_accuracy=0.9, shares=(0.4, 1.0), params=0.2, macs=0.1)
    # CF 5, expected 4, sigma 0.1 * 4 = 0.4: 1 / (2 * 0.16) = 3.125; exp(-3.125) = 0.043937
    assert Gaussian(4.0)(found) == pytest.approx(0.8 * 0.043937, abs=1e-6)
    assert Gaussian(4.0, sigma=1.0)(found) == pytest.approx(0.8 * math.exp(-0.5))
    assert Ashok()(found) == pytest.approx(0.8 * 0.64)
    # 0.654993 of the accuracy, 0.416190 of the first layer, nothing of the second
    assert Hyperbolic(0.8, 0.9, 0.5)(found) == pytest.approx(0.654993 * 0.416190, abs=1e-6)


def test_landscapes() -> None:
    found = gaussian_landscape(points=11)
    assert found.rewards.shape == (11, 11)
    # the ridge is at the expected compression; A = 0.9 there is worth 1
    assert found.rewards[9].argmax() == 5
    assert found.rewards[9, 5] == pytest.approx(1.0)
    assert ashok_landscape(points=11).rewards[9].argmax() == 0
    steep = hyperbolic_landscape(points=11).rewards
    assert steep[10, 10] == steep.max() == pytest.approx(1.0)
    assert steep[0].max() == steep[:, 0].max() == 0.0
