"""Reinforcement learning as a strategy of a search."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.strategy import search_by_ppo

Make = Callable[..., Network]


def test_a_search_finds_a_profile_for_each_network(network: Make) -> None:
    pytest.importorskip("stable_baselines3")
    networks = [network(), network(1)]
    spaces, judge = [one.space for one in networks], [one.measure for one in networks]
    said: list[float] = []
    found = search_by_ppo(spaces, judge, 2.0, 1, progress=lambda stage, share: said.append(share))
    assert said == [0.0, 1.0]
    assert 1 <= len(found) <= 2
    assert all(len(profile) == 2 and all(0.1 <= share <= 1 for share in profile) for profile in found)
    assert found == search_by_ppo(spaces, judge, 2.0, 1)


def test_a_compression_of_one_is_nothing_to_search_for(network: Make) -> None:
    with pytest.raises(ArgumentError, match="a compression above 1, not at 1"):
        search_by_ppo([network().space], [network().measure], 1.0, 1)


@pytest.mark.parametrize(
    ("library", "module", "said"),
    [
        ("gymnasium", "environment", "needs gymnasium: pip install"),
        ("stable_baselines3", "ppo", "needs stable-baselines3: pip install"),
        ("ray", "rllib", "needs Ray: pip install"),
    ],
)
def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch, library: str, module: str, said: str) -> None:
    if library != "gymnasium":
        pytest.importorskip("gymnasium")
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"upscale_onnx.reinforce.{module}", raising=False)
    with pytest.raises(ArgumentError, match=said) as error:
        __import__(f"upscale_onnx.reinforce.{module}")
    assert error.value.exit_code == 2
