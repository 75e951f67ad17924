"""Trained policies: applied to a network, one decides its profile in a single episode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.candidates.structures import described, differing
from upscale_onnx.errors import ArgumentError
from upscale_onnx.reinforce.environment import Finetune, PruningEnv
from upscale_onnx.reinforce.fitting import fitted
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.observation import Observation
from upscale_onnx.reinforce.rewards import Outcome, Reward

_ELITE = 4  # so many draws to one that counts in the end
_WIDER = 2.5


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
        info = self._played(network, PruningEnv([network], reward, choice, finetune), seed, chance)
        return Episode(**{name: info[name] for name in Episode.__dataclass_fields__})

    def best_of(
        self, draws: int, queue: Sequence[Network], reward: Reward, choice: Choice = "bernoulli", seed: int = 0
    ) -> tuple[float, ...]:
        """The geometric mean of the best quarter of as many profiles as `draws`, by mean reward on the networks of
        `queue`: the very best of many owes more to luck. `fitted` makes it fit another network.

        The first is drawn without chance, the others on the networks of the queue in turn: in every second turn with
        the deviation that the policy learned with, in the others with 2.5 times that. On each network, all are scaled
        to the compression that `reward` aims at, if it aims at one; those that cannot be are worth nothing.

        Raises: ArgumentError where a network has another structure.
        """
        drawn = [self._drawn(queue, number, choice, seed) for number in range(draws)]
        rewards = np.array([_mean_reward(profile, queue, reward, choice, seed) for profile in drawn])
        best = np.argsort(-rewards, kind="stable")[: -(-draws // _ELITE)]
        return tuple(np.exp(np.log(np.array(drawn)[best]).mean(axis=0)).tolist())

    def _drawn(self, queue: Sequence[Network], number: int, choice: Choice, seed: int) -> tuple[float, ...]:
        """The profile of a draw's number, which is not judged yet."""
        turn, place = divmod(number, len(queue))
        unjudged = Outcome(accuracy=0.0, base_accuracy=1.0, shares=(), params=1.0, macs=1.0)
        env = PruningEnv([queue[place]], lambda outcome: 0.0, choice, judge=lambda shares, seed: unjudged)
        chance = np.random.default_rng([seed, number]) if number else None
        info = self._played(queue[place], env, seed, chance, _WIDER if turn % 2 else 1.0)
        profile: tuple[float, ...] = info["profile"]
        return profile

    def _played(
        self, network: Network, env: PruningEnv, seed: int, chance: np.random.Generator | None, wider: float = 1.0
    ) -> dict[str, Any]:
        """What `env`, of `network` alone, says at the end of an episode. wider: times the policy's deviation."""
        difference = differing(self.decisions, described(network.space))
        if difference:
            raise ArgumentError(f"the network has another structure than those of the policy: {difference}")
        observation, info = env.reset(seed=seed)
        ended = False
        while not ended:
            share, deviation = self.act(observation)
            drawn = share if chance is None else chance.normal(share, wider * deviation)
            observation, _, ended, _, info = env.step(drawn)
        return info


def _mean_reward(
    profile: Sequence[float], queue: Sequence[Network], reward: Reward, choice: Choice, seed: int
) -> float:
    """Of what the profile is on each network, where it is made to fit it."""
    made = [fitted(profile, one, reward, choice, seed) for one in queue]
    rewards = [reward(one.outcome(found)) if found else 0.0 for one, found in zip(queue, made, strict=True)]
    return float(np.mean(rewards))
