"""The L-C algorithm: weights are trained to be near compressed ones, which follow them, until both are the same.

It minimises the loss L(w) under w = theta, theta compressed, by an augmented Lagrangian. Each step has three parts:

    learning       w      = argmin L(w) + mu/2 ||w - theta - lambda/mu||^2
    compression    theta  = compressed(w - lambda/mu)
    multipliers    lambda = lambda - mu (w - theta)

and mu grows by a factor from step to step.

Source: Carreira-Perpinan, "Model compression as constrained optimization, with application to neural nets. Part I:
general framework", arXiv 1707.01209, 2017, the augmented Lagrangian version of its algorithm; Joseph et al., "A
Programmable Approach to Model Compression", 2019, which takes it over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np

from upscale_onnx.options.checking import check_group
from upscale_onnx.options.ranges import FRACTION, LOSS, NATURAL, POSITIVE, POSITIVE_NUMBER, Range
from upscale_onnx.types import Array

Weights = Mapping[str, Array]
Compression = Callable[[Weights], dict[str, Array]]
_RANGE = 30.0
_GROWTH = Range("a number of at least 1", lambda value: 1 <= value < float("inf"))


@dataclass(frozen=True)
class LC:
    """The settings of the L-C algorithm.

    steps: how many; 0 compresses the weights as they are. epochs: passes over the data in each learning step. tune:
        passes after the last step, in which only what is left is trained.
    lr, momentum, weight_decay, batch: of stochastic gradient descent with Nesterov momentum.
    mu, factor: mu in the first step, and by how much it grows from step to step, up to (1 - momentum) / lr: with a
        larger one, gradient descent at this rate may diverge. Without `mu`, it begins at a thirtieth of that: with a
        much smaller one, a learning step hardly moves the weights, while multipliers grow and masks alternate. Without
        a factor, it grows so that the last step has the largest.

    >>> from upscale_onnx.condensa import LC
    >>> LC(steps=5, mu=0.1, factor=2.0).mu_at(2)
    0.4
    """

    steps: Annotated[int, NATURAL] = 30
    lr: Annotated[float, POSITIVE_NUMBER] = 0.01
    epochs: Annotated[int, POSITIVE] = 1
    tune: Annotated[int, NATURAL] = 1
    mu: Annotated[float, POSITIVE_NUMBER] | None = None
    factor: Annotated[float, _GROWTH] | None = None
    momentum: Annotated[float, FRACTION] = 0.9
    weight_decay: Annotated[float, LOSS] = 0.0
    batch: Annotated[int, POSITIVE] = 128
    seed: Annotated[int, NATURAL] = 0
    threads: Annotated[int, POSITIVE] = 1

    def __post_init__(self) -> None:
        check_group(self)

    def mu_at(self, step: int) -> float:
        """mu in step `step`, from 0."""
        most = (1.0 - self.momentum) / self.lr
        first = self.mu or most / _RANGE
        factor = self.factor or max(most / first, 1.0) ** (1.0 / max(self.steps - 1, 1))
        return float(min(first * factor**step, most))


class Learner(Protocol):
    """What learns."""

    def weights(self) -> dict[str, Array]:
        """The weights by name."""

    def learn(self, step: int, goal: Weights, mu: float) -> None:
        """Minimise the loss plus mu/2 times the squared distance of the weights named in `goal` from it."""


@dataclass(frozen=True, eq=False)
class Iterate:
    """Where the algorithm stands after `step` steps. distance: the norm of w - theta, relative to that of theta."""

    step: int
    theta: dict[str, Array]
    multipliers: dict[str, Array]
    distance: float


def first_iterate(weights: Weights, compressed: Compression) -> Iterate:
    """The start: the compressed weights, and multipliers of 0."""
    theta = compressed(weights)
    return Iterate(0, theta, {name: np.zeros_like(array) for name, array in theta.items()}, _distance(weights, theta))


def next_iterate(learner: Learner, before: Iterate, mu: float, compressed: Compression) -> Iterate:
    """One step."""
    goal = {name: theta + before.multipliers[name] / mu for name, theta in before.theta.items()}
    learner.learn(before.step, goal, mu)
    weights = learner.weights()
    shifted = {name: weights[name] - array / mu for name, array in before.multipliers.items()}
    theta = compressed({**weights, **shifted})
    multipliers = {name: array - mu * (weights[name] - theta[name]) for name, array in before.multipliers.items()}
    return Iterate(before.step + 1, theta, multipliers, _distance(weights, theta))


def _distance(weights: Weights, theta: Weights) -> float:
    off = sum(float(np.square(weights[name] - array).sum()) for name, array in theta.items())
    size = sum(float(np.square(array).sum()) for array in theta.values())
    return float(np.sqrt(off / size)) if size else float(off > 0)
