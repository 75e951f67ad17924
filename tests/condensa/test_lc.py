"""The L-C algorithm on a quadratic loss, whose learning step has a closed form."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from upscale_onnx.condensa.lc import LC, first_iterate, next_iterate
from upscale_onnx.condensa.operators import prune
from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array, FloatArray

SIZE = 12


class Quadratic:
    """L(w) = (w - best)' hessian (w - best) / 2; a learning step solves for its minimum."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        root = rng.normal(size=(SIZE, SIZE))
        self.hessian, self.best = root @ root.T / SIZE + 0.1 * np.eye(SIZE), rng.normal(size=SIZE)
        self.w = self.best.copy()

    def loss(self, w: FloatArray) -> float:
        return float((w - self.best) @ self.hessian @ (w - self.best) / 2)

    def weights(self) -> dict[str, Array]:
        return {"w": self.w, "other": np.ones(3)}

    def learn(self, step: int, goal: Mapping[str, Array], mu: float) -> None:
        assert set(goal) == {"w"}
        self.w = np.linalg.solve(self.hessian + mu * np.eye(SIZE), self.hessian @ self.best + mu * goal["w"])


def halved(weights: Mapping[str, Array]) -> dict[str, Array]:
    return {"w": np.where(prune(weights["w"], 0.5), weights["w"], 0)}


def test_the_steps_are_those_of_the_augmented_lagrangian() -> None:
    problem = Quadratic(0)
    w = problem.best.copy()
    theta, multipliers = np.where(prune(w, 0.5), w, 0), np.zeros(SIZE)
    iterate = first_iterate(problem.weights(), halved)
    assert np.array_equal(iterate.theta["w"], theta)
    for mu in (0.1, 0.2, 0.4):
        iterate = next_iterate(problem, iterate, mu, halved)
        # The gradient of the loss and of mu/2 ||w - theta - lambda/mu||^2 is zero.
        w = iterate_w = problem.w
        gradient = problem.hessian @ (w - problem.best) + mu * (w - theta - multipliers / mu)
        np.testing.assert_allclose(gradient, 0, atol=1e-12)
        shifted = iterate_w - multipliers / mu
        theta = np.where(prune(shifted, 0.5), shifted, 0)
        multipliers = multipliers - mu * (w - theta)
        np.testing.assert_allclose(iterate.theta["w"], theta, atol=1e-12)
        np.testing.assert_allclose(iterate.multipliers["w"], multipliers, atol=1e-12)
        assert iterate.distance == pytest.approx(np.linalg.norm(w - theta) / np.linalg.norm(theta))
    assert iterate.step == 3


def test_the_weights_become_compressed_and_lose_less_than_by_magnitude_alone() -> None:
    lc, gains = LC(steps=40, lr=0.001, mu=0.01), []
    for seed in range(8):
        problem = Quadratic(seed)
        iterate = first_iterate(problem.weights(), halved)
        alone = problem.loss(iterate.theta["w"])
        for step in range(lc.steps):
            iterate = next_iterate(problem, iterate, lc.mu_at(step), halved)
        assert np.count_nonzero(iterate.theta["w"]) == SIZE // 2
        assert iterate.distance < 1e-3
        gains.append(problem.loss(iterate.theta["w"]) / alone)
    assert max(gains) < 0.8
    assert np.mean(gains) < 0.6


def test_mu_grows_by_its_factor_up_to_where_descent_diverges() -> None:
    lc = LC(steps=10, lr=0.05, momentum=0.5, mu=1.0, factor=3.0)
    assert [lc.mu_at(step) for step in range(4)] == [1.0, 3.0, 9.0, 10.0]


def test_without_a_factor_mu_reaches_its_most_in_the_last_step() -> None:
    lc = LC(steps=6, lr=0.01, mu=1e-3)
    found = [lc.mu_at(step) for step in range(6)]
    np.testing.assert_allclose(found, np.geomspace(1e-3, 10, 6))
    np.testing.assert_allclose([LC(steps=3, lr=0.01).mu_at(step) for step in (0, 2)], [1 / 3, 10])
    assert LC(steps=1, mu=1e-3).mu_at(0) == 1e-3


@pytest.mark.parametrize("setting", [{"steps": -1}, {"lr": 0.0}, {"factor": 0.5}, {"momentum": 1.0}])
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=f"{next(iter(setting))} is"):
        LC(**setting)  # type: ignore[arg-type]
