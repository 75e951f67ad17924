"""Profiles that are made to fit each network: scaled to the compression that a reward aims at."""

from __future__ import annotations

from collections.abc import Sequence

from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.candidates.families import at_compression
from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.masks.pools import Masks
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.rewards import Gaussian, Reward


def fitted(
    profile: Sequence[float], network: Network, reward: Reward, choice: Choice = "bernoulli", seed: int = 0
) -> Candidate | None:
    """The candidate of `profile` on `network`, with all shares raised to one power if `reward` aims at a compression.

    The candidate has that compression then, within 2 % or, where no power comes that close, the nearest within 10 %;
    the same shares alone are another one on a network of more classes. No label is used for it. None where no power
    comes near.
    """
    masks = fitted_masks(profile, network, reward, choice, seed)
    return None if masks is None else network.space.candidate_of(masks, choice)


def fitted_masks(
    profile: Sequence[float], network: Network, reward: Reward, choice: Choice = "bernoulli", seed: int = 0
) -> Masks | None:
    """The masks of the candidate that `fitted` returns."""
    space = network.space
    if not isinstance(reward, Gaussian):
        return space.masks(profile, choice, seed)
    found = at_compression(space, profile, reward.expected, choice=choice, seed=seed)
    return None if found is None else found.masks
