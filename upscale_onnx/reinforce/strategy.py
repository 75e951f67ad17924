"""Reinforcement learning as a strategy of a search: profiles for one compression."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from upscale_onnx.candidates.space import Space
from upscale_onnx.errors import ArgumentError
from upscale_onnx.measures.measure import Top1
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.rewards import Gaussian
from upscale_onnx.reinforce.runs import Settings
from upscale_onnx.types import Progress

Profile = tuple[float, ...]


def search_by_ppo(
    spaces: Sequence[Space],
    judge: Sequence[Top1],
    target: float,
    iterations: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Profile, ...]:
    """Profiles by a policy that PPO trains on the networks of `spaces` in turn, by the Gaussian reward (equation 10).

    The policy decides one profile for each network. Those that are equal are listed once, the highest reward first.

    judge: the accuracy of each network on labelled images. target: the compression to aim at, above 1. iterations:
    updates of the policy. seed: of everything random.

    Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, section 4.

    Raises: ArgumentError where a library is missing, the networks differ in structure, or `target` is not above 1.
    """
    if not target > 1:
        raise ArgumentError(f"reinforcement learning aims at a compression above 1, not at {target:g}")
    from upscale_onnx.reinforce.ppo import train

    reward = Gaussian(target)
    networks = [Network.of(space, measure) for space, measure in zip(spaces, judge, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        policy = train(networks, reward, folder, Settings(iterations=iterations, seed=seed), progress=progress)
    episodes = [policy.apply(network, reward, seed=seed) for network in networks]
    return tuple(dict.fromkeys(one.profile for one in sorted(episodes, key=lambda one: -one.reward)))
