"""Proximal policy optimisation on one machine, by stable-baselines3.

An iteration depends on the policy before it and on its number alone. So a training that was killed and started again
ends with the policy that it would have had anyway.

Source: Schulman et al., "Proximal Policy Optimization Algorithms", 2017.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import new_files
from upscale_onnx.reinforce.environment import Finetune, PruningEnv
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.observation import Observation
from upscale_onnx.reinforce.policies import Policy, Scale
from upscale_onnx.reinforce.rewards import Reward, first_share
from upscale_onnx.reinforce.runs import Run, Settings, settings_of
from upscale_onnx.torch_backend.threads import torch_threads
from upscale_onnx.types import Progress

try:
    import torch
    from gymnasium.wrappers import RescaleAction
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.logger import Logger
except ImportError as missing:
    raise ArgumentError("PPO needs stable-baselines3: pip install 'upscale-onnx[search]'") from missing

_POLICY = "policy.pt"
_UNIT = 0.5  # so that actions are of the size that stable-baselines3 is made for


def train(
    networks: Sequence[Network],
    reward: Reward,
    folder: str | os.PathLike[str],
    settings: Settings | None = None,
    finetune: Finetune | None = None,
    progress: Progress | None = None,
) -> Policy:
    """Train a policy on a circular queue of `networks`, and go on with the training that `folder` holds.

    After each iteration, the policy (policy.pt) and the curve (curve.csv) are in `folder`. finetune: trains the network
    after every decision.

    Raises: ArgumentError where the networks differ in structure, or `folder` holds another training.
    """
    chosen = settings or Settings()
    env = PruningEnv(networks, reward, chosen.choice, finetune, fit=chosen.fit)
    run = Run.of(folder, networks, reward, chosen, learner="stable-baselines3", finetune=finetune is not None)
    scale = scale_of(reward)
    model, done = untrained(env, len(run.decisions), chosen, scale), 0
    if (run.folder / _POLICY).exists():
        done = _load(model, run.folder / _POLICY)
    run.begin(done)
    # So small a policy is updated up to four times faster by one thread, where other processes want the processors.
    with torch_threads(networks[0].space.options.target.threads):
        for iteration in range(len(run.rows), chosen.iterations):
            run.tell(progress, chosen.iterations)
            found = _iterated(model, iteration, chosen)
            with new_files() as files:
                run.add(found, files)
                files.write(run.folder / _POLICY, [_saved(model, iteration + 1)])
    run.tell(progress, chosen.iterations)
    return Policy(run.decisions, _acting(model, scale))


def load(folder: str | os.PathLike[str], network: Network, reward: Reward) -> Policy:
    """The policy in `folder`, as it is after the last iteration that ended. network: any of its structure.

    Raises: ArgumentError where there is none, or it is of another structure.
    """
    settings = settings_of(folder)
    decisions, scale = tuple(settings["decisions"]), Scale(settings["start"], _UNIT)
    model = untrained(PruningEnv([network], reward), len(decisions), Settings(), scale)
    _load(model, Path(folder) / _POLICY)
    return Policy(decisions, _acting(model, scale))


class _Ended(BaseCallback):
    """Gathers what the environment says at the end of each episode."""

    def __init__(self) -> None:
        super().__init__()
        self.infos: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        self.infos += [info for info in self.locals["infos"] if "reward" in info]
        return True


def scale_of(reward: Reward) -> Scale:
    """What the actions of a policy mean that is to learn by `reward`."""
    return Scale(first_share(reward), _UNIT)


def untrained(env: PruningEnv, decisions: int, settings: Settings, scale: Scale) -> Any:
    """An untrained policy. Its actions are 0 in the mean."""
    steps = max(settings.episodes * decisions, 2)
    model = PPO(
        "MlpPolicy",
        RescaleAction(env, *scale.bounds),
        learning_rate=settings.learning_rate,
        n_steps=steps,
        batch_size=_divisor(steps, settings.minibatch),
        n_epochs=settings.epochs,
        gamma=settings.discount,
        gae_lambda=settings.smoothing,
        clip_range=settings.clip,
        policy_kwargs={"log_std_init": math.log(settings.deviation)},
        seed=settings.seed,
        device="cpu",
    )
    model.set_logger(Logger(folder=None, output_formats=[]))  # its own makes a folder among the temporary files
    return model


def _iterated(model: Any, iteration: int, settings: Settings) -> list[dict[str, Any]]:
    """Run the episodes of an iteration and update the policy. Returns what the environment said at their ends."""
    ended = _Ended()
    model.set_random_seed(seed_of(settings.seed, iteration))
    model.get_env().set_options({"episode": iteration * settings.episodes})
    model.learn(model.n_steps, callback=ended)
    return ended.infos


def _divisor(steps: int, most: int) -> int:
    """The largest size of equal minibatches, from 2 to `most`; all steps where there is none."""
    return next((size for size in range(min(steps, most), 1, -1) if steps % size == 0), steps)


def seed_of(seed: int, iteration: int) -> int:
    """The seed of an iteration."""
    return (seed * 1_000_003 + iteration) % 2**31


def _saved(model: Any, iteration: int) -> bytes:
    buffer = io.BytesIO()
    torch.save({"iteration": iteration, "parameters": model.get_parameters()}, buffer)
    return buffer.getvalue()


def _load(model: Any, path: Path) -> int:
    """Give `model` the parameters in the file at `path`. Returns the iteration that they are of."""
    try:
        found = torch.load(path, weights_only=True)  # no code of the file is run
        model.set_parameters(found["parameters"], device="cpu")
        return int(found["iteration"])
    except FileNotFoundError as error:
        raise ArgumentError(f"{path}: there is no such policy: train one first") from error
    except Exception as error:  # whatever torch says of files that are no policies
        raise ArgumentError(f"{path}: is no policy for networks of this structure") from error


def _acting(model: Any, scale: Scale) -> Any:
    def act(observation: Observation) -> tuple[float, float]:
        action, _ = model.predict(observation, deterministic=True)
        return scale.share(float(action[0])), scale.unit * math.exp(model.policy.log_std.item())

    return act
