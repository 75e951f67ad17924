"""The environment: an episode prunes one network of a circular queue, decision by decision, in graph order.

Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, section 4 and supplementary algorithms 1, 2.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.candidates.structures import check_structure
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.pools import Masks
from upscale_onnx.reinforce.fitting import fitted_masks
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.observation import (
    DESCRIPTORS,
    Descriptions,
    Observation,
    assembled,
    observed_width,
    taylor_features,
)
from upscale_onnx.reinforce.rewards import Outcome, Reward
from upscale_onnx.types import FloatArray

try:
    import gymnasium
except ImportError as missing:
    raise ArgumentError("reinforcement learning needs gymnasium: pip install 'upscale-onnx[search]'") from missing

LEAST = 0.1
"""The share that lower actions give, too: the source pads the lower end of the action space by 10%."""

Finetune = Callable[[Candidate], onnx.ModelProto]
"""Trains a candidate. It returns a model with the graph of `candidate.masked`, whose zeros it has left in place."""

Judge = Callable[[tuple[float, ...], int], Outcome]
"""Says what a profile is worth. It is also told the seed of the choice of channels."""

_REMEMBERED = 4096


class PruningEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """An environment of gymnasium. An action is the share of its channels that the current decision keeps: 0 to 1, and
    0.1 where it is below that.

    An observation is that of the current decision, under the shares chosen so far; decisions to come keep everything
    (see `observation`). The last one shows the last decision again, with zeros for the channels that it lost. The
    reward is 0 but for the last decision. `info` holds profile (the shares so far) and network (its place in the
    queue), and at the end accuracy, compression, macs and reward.

    choice: how a decision's channels are chosen. finetune: trains the network after every decision (algorithm 2).
    judge: says what a profile is worth, in place of the networks' own measures. fit: a profile is judged as `fitted`
    scales it to the compression that the reward aims at, so that accuracy alone tells episodes apart; `profile` in
    `info` stays what the actions said.
    """

    def __init__(
        self,
        queue: Sequence[Network],
        reward: Reward,
        choice: Choice = "bernoulli",
        finetune: Finetune | None = None,
        judge: Judge | None = None,
        fit: bool = False,
    ) -> None:
        """An environment of these networks.

        Raises: ArgumentError where they are not of one structure.
        """
        check_structure([network.space for network in queue])
        self._queue, self._reward, self._choice, self._finetune = tuple(queue), reward, choice, finetune
        self._told, self._fit = judge, fit
        self._described = tuple(Descriptions.of(network.space) for network in self._queue)
        self._decisions = len(queue[0].space.decisions)
        self._width = observed_width(queue[0].space)
        self._remembered: dict[Hashable, Any] = {}
        self._episode = -1
        self._place = self._seed = self._done = 0
        self._shares = [1.0] * self._decisions
        self._features: FloatArray = np.zeros(self._width)
        self.action_space = gymnasium.spaces.Box(np.float32(0.0), np.float32(1.0), (1,), np.float32)
        size = (self._width + len(DESCRIPTORS),)
        self.observation_space = gymnasium.spaces.Box(np.float32(0.0), np.float32(1.0), size, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode with the next network of the queue, and all shares 1.

        seed: of the choice of channels; it begins with the first network. options: "episode", the number of the
        episode, says which network it is in turn.
        """
        super().reset(seed=seed)
        before = -1 if seed is not None else self._episode
        self._episode = int((options or {}).get("episode", before + 1))
        self._place = self._episode % len(self._queue)
        self._seed = int(self.np_random.integers(2**31))
        self._shares, self._done = [1.0] * self._decisions, 0
        self._look()
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take a decision. Actions are clipped to 0.1 and 1: a policy that draws from a normal distribution knows no
        bounds."""
        if self._done == self._decisions:
            raise ArgumentError("the episode has ended: call reset")
        self._shares[self._done] = float(np.clip(np.asarray(action, np.float64).ravel()[0], LEAST, 1.0))
        self._done += 1
        if self._done < self._decisions:
            self._look()
            return self._observation(), 0.0, False, False, self._info()
        masks = self._judged()
        if self._told is not None:
            outcome = self._told(tuple(self._shares), self._seed)
        else:
            outcome = self._recalled("outcome", masks, self._judge)
        reward = self._reward(outcome)
        # To first order, what a channel means to the loss does not depend on whether it is pruned: equation 13.
        self._features = self._features * _kept(self._queue[self._place], masks)
        ended = {"accuracy": outcome.accuracy, "compression": outcome.compression, "macs": outcome.macs}
        return self._observation(), reward, True, False, {**self._info(), **ended, "reward": reward}

    @property
    def choice_seed(self) -> int:
        """The seed of the choice of channels in this episode."""
        return self._seed

    def _masks(self) -> Masks:
        return self._queue[self._place].space.masks(self._shares, self._choice, self._seed)

    def _judged(self) -> Masks:
        """The masks of a whole profile, to scale where that is asked for and some scale has the compression."""
        network = self._queue[self._place]
        found = fitted_masks(self._shares, network, self._reward, self._choice, self._seed) if self._fit else None
        return self._masks() if found is None else found

    def _look(self) -> None:
        """Compute the features of the decision that comes next."""
        self._features = self._recalled(("features", self._done), self._masks(), self._measured)

    def _measured(self, masks: Masks) -> FloatArray:
        network = self._queue[self._place]
        if self._finetune is None or self._done == 0:  # nothing is pruned yet
            model = network.space.masked(masks)
        else:
            model = self._finetune(network.space.candidate_of(masks, self._choice))
        return taylor_features(network, model, self._done)

    def _judge(self, masks: Masks) -> Outcome:
        network = self._queue[self._place]
        candidate = network.space.candidate_of(masks, self._choice)
        return network.outcome(candidate, None if self._finetune is None else self._finetune(candidate))

    def _recalled(self, what: Hashable, masks: Masks, made: Callable[[Masks], Any]) -> Any:
        """What `made` returns for `masks`; equal masks are computed once."""
        key = (what, self._place, b"".join(np.packbits(mask).tobytes() for mask in masks.values()))
        if key not in self._remembered:
            if len(self._remembered) >= _REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = made(masks)
        return self._remembered[key]

    def _observation(self) -> Observation:
        index = min(self._done, self._decisions - 1)
        return assembled(self._features, self._width, self._described[self._place].row(index, self._shares))

    def _info(self) -> dict[str, Any]:
        return {"profile": tuple(self._shares), "network": self._place}


def _kept(network: Network, masks: Masks) -> FloatArray:
    """1 for each channel that the last decision keeps in any of its layers, 0 for others."""
    last = len(network.space.decisions) - 1
    found = network.space.by_channel(last, {weight: mask.astype(np.float64) for weight, mask in masks.items()})
    return (found > 0).astype(np.float64)
