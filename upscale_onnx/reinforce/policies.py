"""Trained policies: applied to a network, one decides its profile in a single episode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.candidates.structures import described, differing
from upscale_onnx.errors import ArgumentError
from upscale_onnx.reinforce.environment import Finetune, PruningEnv
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.observation import Observation
from upscale_onnx.reinforce.rewards import Reward


@dataclass(frozen=True)
class Episode:
    """What an episode made. profile: the share (0 to 1) that each decision was told to keep."""

    profile: tuple[float, ...]
    accuracy: float
    compression: float
    macs: float
    reward: float


@dataclass(frozen=True)
class Scale:
    """What actions mean: the share `start` is 0, and one more is `unit` more of it."""

    start: float
    unit: float

    @property
    def bounds(self) -> tuple[np.float32, np.float32]:
        """The actions of the shares 0 and 1."""
        return np.float32(-self.start / self.unit), np.float32((1.0 - self.start) / self.unit)

    def share(self, action: float) -> float:
        """The share of an action; those that are too low or too high are clipped."""
        return float(np.clip(self.start + self.unit * action, 0.0, 1.0))


@dataclass(frozen=True)
class Policy:
    """A trained policy.

    decisions: in words, of the networks that it was trained on. act: the share that it would keep, without chance,
    and the standard deviation of those that it draws.
    """

    decisions: tuple[str, ...]
    act: Callable[[Observation], tuple[float, float]]

    def apply(
        self,
        network: Network,
        reward: Reward,
        choice: Choice = "bernoulli",
        seed: int = 0,
        finetune: Finetune | None = None,
        chance: np.random.Generator | None = None,
    ) -> Episode:
        """The episode in which this policy prunes `network`, which it need not have seen.

        finetune: trains the network after every decision, as it did when the policy was trained. chance: shares are
        drawn by it, as they were then.

        Raises: ArgumentError where the network has another structure.
        """
        difference = differing(self.decisions, described(network.space))
        if difference:
            raise ArgumentError(f"the network has another structure than those of the policy: {difference}")
        env = PruningEnv([network], reward, choice, finetune)
        observation, info = env.reset(seed=seed)
        ended = False
        while not ended:
            share, deviation = self.act(observation)
            drawn = share if chance is None else chance.normal(share, deviation)
            observation, _, ended, _, info = env.step(drawn)
        return Episode(**{name: info[name] for name in Episode.__dataclass_fields__})

    def best_of(
        self, draws: int, queue: Sequence[Network], reward: Reward, choice: Choice = "bernoulli", seed: int = 0
    ) -> tuple[float, ...]:
        """The profile with the highest mean reward on the networks of `queue`, of as many as `draws`.

        The first is drawn without chance; the others differ from it as those that the policy learned on. Each is made
        on the next network of the queue, and judged on all of them.

        Raises: ArgumentError where a network has another structure.
        """
        profiles = [
            self.apply(queue[number % len(queue)], reward, choice, seed, chance=_chance(seed, number)).profile
            for number in range(draws)
        ]
        return max(profiles, key=lambda profile: _mean_reward(profile, queue, reward, choice, seed))


def _chance(seed: int, number: int) -> np.random.Generator | None:
    return np.random.default_rng([seed, number]) if number else None


def _mean_reward(
    profile: Sequence[float], queue: Sequence[Network], reward: Reward, choice: Choice, seed: int
) -> float:
    outcomes = (one.outcome(one.space.candidate(profile, choice=choice, seed=seed)) for one in queue)
    return float(np.mean([reward(outcome) for outcome in outcomes]))
