"""Profiles that are made to fit a network, and the best of several that a policy draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("torch")

from upscale_onnx.candidates.structures import described
from upscale_onnx.errors import ArgumentError
from upscale_onnx.reinforce.fitting import fitted
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.policies import Policy
from upscale_onnx.reinforce.rewards import Ashok, Gaussian, Outcome

Make = Callable[..., Network]
Profile = tuple[float, float]


def test_a_profile_has_the_compression_that_is_aimed_at_on_every_network(network: Make) -> None:
    for classes in (5, 40):
        one = network(first=48, classes=classes)
        found = fitted((0.9, 0.5), one, Gaussian(4.0), "scores")
        assert found is not None
        assert found.compression == pytest.approx(4.0, rel=0.02)
        assert found.shares[0] > found.shares[1]
        assert one.space.candidate((0.9, 0.5)).compression < 2.0


def test_layers_of_few_channels_come_as_close_as_they_can(network: Make) -> None:
    found = fitted((0.5, 0.9), network(first=48), Gaussian(4.0), "scores")
    assert found is not None
    assert 0.02 < abs(found.compression / 4.0 - 1.0) < 0.04  # the other neighbour is 4.1 % off


def test_a_profile_without_an_aim_stays_as_it_is(network: Make) -> None:
    found = fitted((0.75, 0.5), network(), Ashok(), "scores")
    assert found is not None
    assert found.shares == (0.75, 0.5)


def test_no_power_of_whole_layers_has_another_compression(network: Make) -> None:
    assert fitted((1.0, 1.0), network(), Gaussian(2.0), "scores") is None


def test_the_best_quarter_is_averaged(network: Make) -> None:
    queue = [network(), network(1)]
    found = _policy(queue).best_of(8, queue, Least(), "scores")
    # the third and the seventh draw of two networks are in turns 1 and 3: those have 2.5 times the deviation of 0.1
    drawn = [(0.5, 0.5)] + [_normal(number, 0.25 if number // 2 % 2 else 0.1) for number in range(1, 8)]
    kept = [sum(queue[0].space.candidate(profile).shares) for profile in drawn]
    first, second = (drawn[place] for place in np.argsort(kept, kind="stable")[:2])
    assert found == pytest.approx([np.sqrt(a * b) for a, b in zip(first, second, strict=True)])
    assert found == _policy(queue).best_of(8, queue, Least(), "scores")


def test_draws_are_judged_at_the_aim(network: Make) -> None:
    """The draw that is nearest to the aim by itself is not the best one there."""
    one, reward = network(), Gaussian(2.0)
    drawn = [(0.8, 0.8)] + [_normal(number, 0.25 if number % 2 else 0.1, 0.8) for number in range(1, 4)]
    bare = [reward(one.outcome(one.space.candidate(profile))) for profile in drawn]
    scaled = [reward(one.outcome(made)) for profile in drawn if (made := fitted(profile, one, reward, "scores"))]
    assert np.argmax(scaled) != np.argmax(bare)
    assert _policy([one], 0.8).best_of(4, [one], reward, "scores") == pytest.approx(drawn[int(np.argmax(scaled))])


def test_draws_that_no_scale_fits_are_worth_nothing(network: Make) -> None:
    queue = [network()]
    assert _policy(queue, 1.0).best_of(1, queue, Gaussian(2.0), "scores") == (1.0, 1.0)
    assert _policy(queue, 1.0).best_of(2, queue, Gaussian(2.0), "scores") == pytest.approx(_normal(1, 0.25, 1.0))


def test_one_draw_is_the_policys_own(network: Make) -> None:
    queue = [network()]
    policy = _policy(queue, 0.6)
    assert policy.best_of(1, queue, Least(), "scores") == pytest.approx(policy.apply(queue[0], Least()).profile)


def test_a_queue_of_another_structure_is_refused(network: Make) -> None:
    queue = [network()]
    with pytest.raises(ArgumentError, match="decision 1 is of 10 channels"):
        _policy(queue).best_of(2, [*queue, network(first=10)], Gaussian(2.0))


class Least:
    """Rewards the share that is removed."""

    def __call__(self, outcome: Outcome) -> float:
        return 1.0 - sum(outcome.shares) / len(outcome.shares)


def _policy(queue: Sequence[Network], share: float = 0.5) -> Policy:
    """It keeps the same share always, with a deviation of 0.1."""
    return Policy(tuple(described(queue[0].space)), lambda observation: (share, 0.1))


def _normal(number: int, deviation: float, mean: float = 0.5) -> Profile:
    first, second = np.clip(np.random.default_rng([0, number]).normal(mean, deviation, 2), 0.1, 1.0).tolist()
    return first, second
