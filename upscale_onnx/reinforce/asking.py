"""PPO that is asked for a profile and told what it is worth, in place of measuring it by itself.

All that is random depends on the seed, so a training that is told the same again proposes the same again.

Source: Schulman et al., "Proximal Policy Optimization Algorithms", 2017.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch

from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.reinforce.environment import LEAST, PruningEnv
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.ppo import scale_of, seed_of, untrained
from upscale_onnx.reinforce.rewards import Outcome, Reward
from upscale_onnx.reinforce.runs import Settings

Asked = tuple[tuple[float, ...], int]
"""A profile, and the seed by which channels are chosen where that is random."""


def episodes(
    networks: Sequence[Network], reward: Reward, settings: Settings, choice: Choice
) -> Generator[Asked, Outcome, None]:
    """Yields the profile of each episode, and takes its outcome. The policy learns after each `settings.episodes`.

    Raises: ArgumentError where the networks differ in structure.
    """
    told: list[Outcome] = []
    env = PruningEnv(networks, reward, choice, judge=lambda shares, seed: told.pop())
    decisions = len(networks[0].space.decisions)
    scale = scale_of(reward)
    model = untrained(env, decisions, settings, scale)
    for iteration in range(settings.iterations):
        model.set_random_seed(seed_of(settings.seed, iteration))
        model.rollout_buffer.reset()
        for number in range(settings.episodes):
            seen, info = env.reset(
                seed=None if number else seed_of(settings.seed, iteration),
                options={"episode": iteration * settings.episodes + number},
            )
            for step in range(decisions):
                action, value, chance = _drawn(model, seen)
                share = max(scale.share(action.item()), LEAST)
                if step == decisions - 1:
                    told.append((yield (*info["profile"][:-1], share), env.choice_seed))
                after, gained, _, _, info = env.step(share)
                model.rollout_buffer.add(
                    seen[None], action, np.array([gained]), np.array([step == 0]), value, chance
                )  # fmt: skip
                seen = after
        model.rollout_buffer.compute_returns_and_advantage(torch.zeros(1), np.ones(1, np.bool_))
        model.train()


def _drawn(model: Any, seen: Any) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """An action of the policy, what it expects to gain, and the logarithm of the action's probability."""
    with torch.no_grad():
        action, value, chance = model.policy(torch.as_tensor(seen[None]))
    return action.numpy(), value, chance
