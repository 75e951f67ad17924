"""Reinforcement learning: a policy decides each layer's share in turn, and learns from what its profiles are worth.

It aims at a compression, by the Gaussian reward. Its episodes are told again from the history where a search goes on.

Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, section 4.
"""

from __future__ import annotations

import importlib.util

from upscale_onnx.errors import ArgumentError
from upscale_onnx.measures.measure import Top1
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.rewards import Gaussian, Outcome
from upscale_onnx.reinforce.runs import Settings
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.strategies.registry import Setting
from upscale_onnx.searching.trials import History, Proposal, key

_NAME = "ppo"
_EPISODES = 8  # in a search of a few hundred trials, the policy has to learn often


class Ppo:
    """Proposes the profile of one episode after the other. There is one policy: other processes wait for its trial."""

    def __init__(self, setting: Setting) -> None:
        from upscale_onnx.reinforce.asking import episodes

        assert setting.compression is not None
        self._baseline = setting.problem.unpruned.value("accuracy")
        networks = [
            Network.of(one.space, one.measure) for one in setting.problem.subjects if isinstance(one.measure, Top1)
        ]
        settings = Settings(setting.trials, _EPISODES, setting.problem.choice, setting.seed)
        self._episodes = episodes(networks, Gaussian(setting.compression), settings, setting.problem.choice)
        self._asked = next(self._episodes)

    def propose(self, history: History, number: int) -> Proposal | None:
        """As `Strategy` says."""
        del number
        while (known := history.known.get(key(self._asked[0]))) is not None:
            self._asked = self._episodes.send(self._outcome(known))
        shares, seed = self._asked
        if any(key(trial.proposal.shares) == key(shares) for trial in history.running.values()):
            return None
        return Proposal(shares, _NAME, whole=True, seed=seed)

    def _outcome(self, known: Measured) -> Outcome:
        return Outcome(known.value("accuracy"), self._baseline, known.kept, known.params, known.macs)


def make(setting: Setting) -> Ppo:
    """The strategy.

    Raises: ArgumentError where PyTorch is missing, no compression is aimed at, or there are no labels.
    """
    if importlib.util.find_spec("torch") is None:
        raise ArgumentError("strategy ppo needs PyTorch: pip install 'upscale-onnx[torch]'")
    if setting.compression is None or not setting.problem.has_labels:
        raise ArgumentError("strategy ppo aims at a compression and an accuracy: give --compression and --data")
    return Ppo(setting)
