"""Training by PPO: what it writes, that it goes on where it was, and policies on networks that they have not seen."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("torch")

from upscale_onnx.errors import ArgumentError
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.observation import DESCRIPTORS
from upscale_onnx.reinforce.ppo import load, train
from upscale_onnx.reinforce.rewards import Ashok, Gaussian, Outcome, Reward
from upscale_onnx.reinforce.runs import COLUMNS, Settings

Make = Callable[..., Network]
FEW = Settings(iterations=3, episodes=4, epochs=2)


def test_a_training_leaves_its_curve_and_its_policy(network: Make, tmp_path: Path) -> None:
    said: list[tuple[str, float]] = []
    train([network(), network(1)], Gaussian(2.0), tmp_path, FEW, progress=lambda *now: said.append(now))
    rows = _curve(tmp_path)
    assert list(rows[0]) == list(COLUMNS)
    assert [row["iteration"] for row in rows] == ["1", "2", "3"]
    for row in rows:
        for name in ("reward", "compression", "accuracy"):
            low, mean, high = (float(row[f"{name}_{part}"]) for part in ("min", "mean", "max"))
            assert low <= mean <= high
    assert [share for _, share in said] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert said[0][0] == "ppo: iteration 1 of 3"
    assert said[1][0].endswith(" s left")


def test_going_on_is_as_if_never_stopped(network: Make, tmp_path: Path) -> None:
    queue = [network(), network(1)]
    whole = train(queue, Gaussian(2.0), tmp_path / "whole", FEW)

    def stop(stage: str, share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(queue, Gaussian(2.0), tmp_path / "parts", FEW, progress=stop)
    assert len(_curve(tmp_path / "parts")) == 2
    parts = train(queue, Gaussian(2.0), tmp_path / "parts", FEW)
    drawn = np.random.default_rng(0).random((5, 12 + len(DESCRIPTORS))).astype(np.float32)
    assert [whole.act(one) for one in drawn] == [parts.act(one) for one in drawn]
    one, other = _curve(tmp_path / "whole"), _curve(tmp_path / "parts")
    assert [_without_time(row) for row in one] == [_without_time(row) for row in other]


def test_a_curve_ahead_of_its_policy_is_cut(network: Make, tmp_path: Path) -> None:
    train([network()], Gaussian(2.0), tmp_path, FEW)
    expected = _curve(tmp_path)
    path = tmp_path / "curve.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1].replace("3,", "4,", 1) + "\n")
    train([network()], Gaussian(2.0), tmp_path, Settings(iterations=4, episodes=4, epochs=2))
    assert [_without_time(row) for row in _curve(tmp_path)[:3]] == [_without_time(row) for row in expected]
    assert len(_curve(tmp_path)) == 4


def test_a_policy_learns(network: Make, tmp_path: Path) -> None:
    """A reward for keeping little: what is kept becomes less."""
    settings = Settings(iterations=6, episodes=16, epochs=20, learning_rate=0.01, deviation=0.4, choice="scores")
    policy = train([network()], Least(), tmp_path, settings)
    rows = _curve(tmp_path)
    assert float(rows[-1]["reward_mean"]) > float(rows[0]["reward_mean"]) + 0.1
    assert sum(policy.apply(network(), Least()).profile) < 0.7


@pytest.mark.parametrize(("reward", "share"), [(Gaussian(4.0), 0.5), (Gaussian(1.5), 0.816), (Ashok(), 0.5)])
def test_a_first_policy_is_near_its_aim(network: Make, tmp_path: Path, reward: Reward, share: float) -> None:
    settings = Settings(iterations=1, episodes=1, epochs=1, learning_rate=1e-6, choice="scores")
    trained = train([network()], reward, tmp_path, settings)
    assert trained.apply(network(), reward).profile == pytest.approx((share, share), abs=0.03)
    # it means the same shares when it is loaded for another reward
    drawn = np.random.default_rng(0).random(12 + len(DESCRIPTORS)).astype(np.float32)
    assert load(tmp_path, network(), Gaussian(9.0)).act(drawn) == trained.act(drawn)


def test_a_policy_fits_networks_that_it_has_not_seen(network: Make, tmp_path: Path) -> None:
    trained = train([network()], Gaussian(2.0), tmp_path, FEW)
    unseen = network(7)
    found = trained.apply(unseen, Gaussian(2.0), "exact")
    assert load(tmp_path, unseen, Gaussian(2.0)).apply(unseen, Gaussian(2.0), "exact") == found
    candidate = unseen.space.candidate(found.profile)
    assert found.compression == pytest.approx(candidate.compression)
    assert all(0.1 <= share <= 1 for share in found.profile)
    with pytest.raises(ArgumentError, match="decision 1 is of 10 channels of Conv 3x3, not of 8"):
        trained.apply(network(first=10), Gaussian(2.0))


def test_a_reward_of_ones_own_is_known_again(network: Make, tmp_path: Path) -> None:
    for _ in range(2):
        train([network()], Least(), tmp_path, Settings(iterations=1, episodes=2, epochs=1))
    assert len(_curve(tmp_path)) == 1


def test_profiles_made_to_fit_stay_at_the_aim(network: Make, tmp_path: Path) -> None:
    queue = [network(first=48), network(first=48, classes=40)]
    train(queue, Gaussian(2.0), tmp_path, replace(FEW, choice="scores", deviation=0.6, fit=True))
    for row in _curve(tmp_path):
        assert 1.8 <= float(row["compression_min"]) <= float(row["compression_max"]) <= 2.2
        assert float(row["accuracy_min"]) < float(row["accuracy_max"])
    with pytest.raises(ArgumentError, match="a training of another fit"):
        train(queue, Gaussian(2.0), tmp_path, replace(FEW, choice="scores", deviation=0.6))


def test_a_training_older_than_a_setting_goes_on(network: Make, tmp_path: Path) -> None:
    train([network()], Gaussian(2.0), tmp_path, FEW)
    path = tmp_path / "settings.json"
    settings = json.loads(path.read_text())
    del settings["fit"]
    path.write_text(json.dumps(settings))
    train([network()], Gaussian(2.0), tmp_path, replace(FEW, iterations=4))
    assert len(_curve(tmp_path)) == 4


def test_a_folder_of_another_training_is_refused(network: Make, tmp_path: Path) -> None:
    train([network()], Gaussian(2.0), tmp_path, FEW)
    with pytest.raises(ArgumentError, match="a training of another reward"):
        train([network()], Ashok(), tmp_path, FEW)
    with pytest.raises(ArgumentError, match="a training of another networks"):
        train([network(1)], Gaussian(2.0), tmp_path, FEW)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("policy.pt", b"nonsense", "is no policy"),
        ("curve.csv", b"a,b\n1,2\n", "is not the curve"),
        ("curve.csv", (",".join(COLUMNS) + "\n").encode(), "lacks iterations"),
        ("settings.json", b"[", "holds no training"),
        ("settings.json", b"[]", "holds no training"),
    ],
)
def test_damaged_files_are_one_line(network: Make, tmp_path: Path, name: str, content: bytes, said: str) -> None:
    train([network()], Gaussian(2.0), tmp_path, Settings(iterations=1, episodes=2, epochs=1))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArgumentError, match=said):
        train([network()], Gaussian(2.0), tmp_path, Settings(iterations=1, episodes=2, epochs=1))


def test_no_policy_yet(network: Make, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="holds no training"):
        load(tmp_path, network(), Gaussian(2.0))


class Least:
    """Rewards the share that is removed."""

    def __call__(self, outcome: Outcome) -> float:
        return 1.0 - sum(outcome.shares) / len(outcome.shares)


def _curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "curve.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _without_time(row: dict[str, Any]) -> dict[str, Any]:
    return {name: float(value) for name, value in row.items() if name != "seconds"}
