"""The environment: what an episode shows, what it is worth, and that it can be repeated."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("torch")

from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.reinforce.environment import PruningEnv
from upscale_onnx.reinforce.fitting import fitted
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.observation import DESCRIPTORS, taylor_features
from upscale_onnx.reinforce.rewards import Gaussian

Make = Callable[..., Network]
INDEX = {name: 12 + place for place, name in enumerate(DESCRIPTORS)}


@pytest.fixture
def env(network: Make) -> PruningEnv:
    return PruningEnv([network()], Gaussian(2.0))


def test_gymnasium_finds_nothing_wrong(network: Make) -> None:
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(PruningEnv([network(), network(1)], Gaussian(2.0)), skip_render_check=True)


def test_only_the_last_decision_is_rewarded(network: Make) -> None:
    one = network()
    env = PruningEnv([one], Gaussian(2.0), choice="scores")
    env.reset(seed=0)
    _, reward, ended, truncated, info = env.step([0.5])
    assert (reward, ended, truncated, info["profile"]) == (0.0, False, False, (0.5, 1.0))
    _, reward, ended, truncated, info = env.step([0.75])
    candidate = one.space.candidate((0.5, 0.75))
    assert (ended, truncated, info["profile"]) == (True, False, (0.5, 0.75))
    assert info["compression"] == candidate.compression
    assert info["macs"] == candidate.macs
    assert info["accuracy"] == one.measure.value(candidate.model) < 1.0
    assert reward == info["reward"] == Gaussian(2.0)(one.outcome(candidate)) > 0.0
    with pytest.raises(ArgumentError, match="call reset"):
        env.step([0.5])


def test_actions_are_clipped(env: PruningEnv) -> None:
    env.reset(seed=0)
    env.step(np.array([-3.0]))
    assert env.step(np.array([7.0]))[4]["profile"] == (0.1, 1.0)


def test_features_are_those_of_the_profile_so_far(network: Make) -> None:
    one = network()
    env = PruningEnv([one], Gaussian(2.0), choice="scores")
    first, _ = env.reset(seed=0)
    np.testing.assert_allclose(first[:8], taylor_features(one, one.space.model, 0), rtol=1e-6)
    assert (first[8:12] == 0).all()
    assert np.linalg.norm(first[:8]) == pytest.approx(1.0)
    second = env.step([0.25])[0]
    masked = write_masks(one.space.model, one.space.masks((0.25, 1.0)))[0]
    np.testing.assert_allclose(second[:12], taylor_features(one, masked, 1), rtol=1e-6)
    assert np.abs(second[:12] - taylor_features(one, one.space.model, 1)).max() > 0.01
    last = env.step([0.5])[0]
    kept = one.space.masks((0.25, 0.5))["fc"]
    np.testing.assert_allclose(last[:12], np.where(kept, second[:12], 0.0))


def test_layers_are_described(network: Make) -> None:
    env = PruningEnv([network()], Gaussian(2.0), choice="scores")
    env.reset(seed=0)
    seen = env.step([0.25])[0]
    # body: 12 x 8 x 3 x 3 weights at 2 x 2 places = 3456; fc: 12 x 5 = 60; body keeps a quarter
    body, fc = 3456 / 3516, 60 / 3516
    assert seen[INDEX["index"]] == 1.0
    assert seen[INDEX["n"]] == pytest.approx(5 / 12)
    assert seen[INDEX["c"]] == 1.0
    assert seen[INDEX["h"]] == pytest.approx(1 / 6)
    assert seen[INDEX["stride"]] == pytest.approx(1 / 2)
    assert seen[INDEX["k"]] == pytest.approx(1 / 3)
    assert seen[INDEX["macs"]] == pytest.approx(fc)
    assert seen[INDEX["reduced"]] == pytest.approx(0.75 * body)
    assert seen[INDEX["rest"]] == 0.0
    assert seen[INDEX["previous"]] == 0.25
    # weights: body 12 x 8 x 3 x 3 = 864, fc 60
    assert seen[INDEX["params"]] == pytest.approx(60 / 924)
    assert seen[INDEX["params_reduced"]] == pytest.approx(0.75 * 864 / 924)
    assert seen[INDEX["params_rest"]] == 0.0


def test_every_episode_takes_the_next_network(network: Make) -> None:
    env = PruningEnv([network(), network(1), network(2)], Gaussian(2.0))
    found = [env.reset(seed=3)[1]["network"]] + [env.reset()[1]["network"] for _ in range(3)]
    assert found == [0, 1, 2, 0]
    assert env.reset(options={"episode": 7})[1]["network"] == 1
    assert env.reset()[1]["network"] == 2


def test_episodes_are_repeated_by_their_seed(network: Make) -> None:
    env = PruningEnv([network()], Gaussian(2.0))
    one, again, other = (_episode(env, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one[0], again[0])
    assert one[1] == again[1]
    assert np.abs(one[0] - other[0]).max() > 0


def test_a_decision_once_taken_stays(network: Make) -> None:
    """Channels that were drawn for a decision are the same for all decisions behind it."""
    space = network().space
    before, after = space.masks((0.5, 1.0), "bernoulli", 9), space.masks((0.5, 0.5), "bernoulli", 9)
    np.testing.assert_array_equal(before["body"], after["body"])


def test_equal_masks_are_judged_once(network: Make) -> None:
    calls: list[Candidate] = []

    def finetune(candidate: Candidate) -> onnx.ModelProto:
        calls.append(candidate)
        return candidate.masked

    env = PruningEnv([network()], Gaussian(2.0), "scores", finetune)
    first = _episode(env, 0)
    assert len(calls) == 2
    assert _episode(env, 1)[1] == first[1]
    assert len(calls) == 2


def test_what_is_trained_is_judged_and_observed(network: Make) -> None:
    one = network()

    def finetune(candidate: Candidate) -> onnx.ModelProto:
        trained = onnx.ModelProto()
        trained.CopyFrom(candidate.masked)
        weight = next(tensor for tensor in trained.graph.initializer if tensor.name == "fc")
        values = onnx.numpy_helper.to_array(weight).copy()
        values[:, 1:] = values[:, :1]  # all classes score the same, so that the first one wins
        weight.CopyFrom(onnx.numpy_helper.from_array(values, "fc"))
        return trained

    plain, trained = (_episode(PruningEnv([one], Gaussian(2.0), "scores", f), 0) for f in (None, finetune))
    first = np.mean([(labels == 0).mean() for _, labels in one.measure.batches])
    assert trained[1]["accuracy"] == pytest.approx(first)
    assert plain[1]["accuracy"] != trained[1]["accuracy"]
    assert np.abs(plain[0] - trained[0]).max() > 0.01


def test_a_queue_of_two_structures_is_refused(network: Make) -> None:
    with pytest.raises(ArgumentError) as error:
        PruningEnv([network(), network(first=10)], Gaussian(2.0))
    said = "network 2 has another structure than network 1: decision 1 is of 10 channels of Conv 3x3, not of 8 channels"
    assert str(error.value) == f"{said} of Conv 3x3"
    with pytest.raises(ArgumentError, match="no network"):
        PruningEnv([], Gaussian(2.0))


def test_a_network_of_a_fixed_batch(network: Make) -> None:
    one = network(batch="16")
    assert one.images["x"].shape[0] == one.labels.size == 16
    assert 0 < _episode(PruningEnv([one], Gaussian(2.0)), 0)[1]["accuracy"] <= 1


def test_an_episode_that_is_made_to_fit_is_judged_at_the_aim(network: Make) -> None:
    one, reward = network(first=48), Gaussian(4.0)
    scaled = fitted((0.9, 0.5), one, reward, "scores")
    assert scaled is not None
    outcomes = []
    for power in (0.5, 1.0, 2.0):  # these are one profile at other scales
        env = PruningEnv([one], reward, "scores", fit=True)
        env.reset(seed=0)
        env.step([0.9**power])
        info = env.step([0.5**power])[4]
        assert info["profile"] == pytest.approx((0.9**power, 0.5**power))
        outcomes.append((info["accuracy"], info["compression"], info["reward"]))
    assert set(outcomes) == {(one.measure.value(scaled.model), scaled.compression, reward(one.outcome(scaled)))}
    assert scaled.compression == pytest.approx(4.0, rel=0.02)


def test_what_cannot_be_made_to_fit_is_judged_as_it_is(network: Make) -> None:
    one = network()
    env = PruningEnv([one], Gaussian(2.0), "scores", fit=True)
    env.reset(seed=0)
    env.step([1.0])
    info = env.step([1.0])[4]
    assert (info["compression"], info["accuracy"]) == (1.0, one.measure.baseline)
    assert info["reward"] == pytest.approx(Gaussian(2.0)(one.outcome(one.space.candidate((1.0, 1.0)))))


def _episode(env: PruningEnv, seed: int) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """What the second decision sees, and what the episode ends with."""
    env.reset(seed=seed)
    seen = env.step([0.5])[0]
    return seen, env.step([0.5])[4]
