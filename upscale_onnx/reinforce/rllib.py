"""Proximal policy optimisation on a cluster, by Ray RLlib: environments run on all nodes, the policy is updated here.

Source: Liang et al., "RLlib: Abstractions for Distributed Reinforcement Learning", 2018; Venkatesan et al.,
"Out-of-the-box Channel Pruned Networks", 2020, supplementary section 8.4.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import new_files, write_errors
from upscale_onnx.reinforce.environment import Finetune, PruningEnv
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.observation import Observation
from upscale_onnx.reinforce.policies import Policy, Scale
from upscale_onnx.reinforce.rewards import Reward, first_share
from upscale_onnx.reinforce.runs import MEASURES, Run, Settings, settings_of
from upscale_onnx.torch_backend.threads import torch_threads
from upscale_onnx.types import Progress

try:
    import ray
    import torch
    from gymnasium.wrappers import RescaleAction
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.rllib.core.rl_module.rl_module import RLModule
    from ray.tune.registry import register_env
except ImportError as missing:
    raise ArgumentError("training on a cluster needs Ray: pip install 'upscale-onnx[search,ray]'") from missing

_ENV = "upscale-onnx-pruning"
_PREFIX = "policy-"
_MODULE = Path("learner_group", "learner", "rl_module", "default_policy")
_ANSWER = 5.0  # seconds within which a cluster has to answer
_ALL_LOST = (
    "no environment of the training is left after iteration {}: their nodes were lost, or what they run failed, which "
    "the log of Ray tells; the same call goes on after this iteration"
)


def train(
    networks: Sequence[Network],
    reward: Reward,
    folder: str | os.PathLike[str],
    settings: Settings | None = None,
    finetune: Finetune | None = None,
    progress: Progress | None = None,
    address: str | None = None,
    runners: int = 1,
) -> Policy:
    """Train a policy on a circular queue of `networks`, and go on with the training that `folder` holds.

    After each iteration, the policy (policy-NNNNNN) and the curve (curve.csv) are in `folder`, on this machine. What a
    lost node was doing is done again by the others. finetune: trains the network after every decision.
    address: of a cluster, as "host:port" or "auto"; None starts Ray here. runners: how many environments run at a time,
    each on a processor of its own. One that is lost is not replaced before the next call.

    Raises: ArgumentError where the networks differ in structure, `folder` holds another training, nobody answers at
    `address`, the cluster has fewer processors than `runners`, or all environments were lost.
    """
    chosen = settings or Settings()
    PruningEnv(networks, reward, chosen.choice, finetune)  # refuses what does not fit before any cluster is asked
    run = Run.of(folder, networks, reward, chosen, learner="rllib", finetune=finetune is not None)
    saved = _saved(run.folder)
    with _cluster(address), torch_threads(networks[0].space.options.target.threads):
        _check_processors(runners)
        register_env(_ENV, _environment)
        config = {"queue": ray.put(tuple(networks)), "reward": reward, "settings": chosen, "finetune": finetune}
        algorithm = _config(chosen, len(run.decisions), config, runners).build_algo()
        try:
            if saved is not None:
                algorithm.restore_from_path(str(saved.resolve()))
            run.begin(0 if saved is None else _iteration(saved))
            for iteration in range(len(run.rows), chosen.iterations):
                run.tell(progress, chosen.iterations)
                found = _episodes(algorithm.train())
                if not found:
                    raise ArgumentError(_ALL_LOST.format(iteration))
                with new_files() as files:
                    run.add(found, files)
                _save(algorithm, run.folder, iteration + 1)
            run.tell(progress, chosen.iterations)
            return Policy(run.decisions, _acting(algorithm.get_module(), _scale(reward, chosen)))
        finally:
            algorithm.stop()


def load(folder: str | os.PathLike[str]) -> Policy:
    """The policy in `folder`, as it is after the last iteration that ended. Only load policies of your own: Ray reads
    them by pickle, which runs what they hold.

    Raises: ArgumentError where there is none.
    """
    path, settings = _saved(Path(folder)), settings_of(folder)
    if path is None:
        raise ArgumentError(f"{folder}: there is no policy of Ray's: train one first")
    module = RLModule.from_checkpoint(str((path / _MODULE).resolve()))
    return Policy(tuple(settings["decisions"]), _acting(module, Scale(settings["start"], settings["deviation"] / 2.0)))


def _environment(config: Any) -> Any:
    """The environment of one runner. Each begins at another place of the queue. Its actions have the unit of the
    policy, whose standard deviation is 1 at first."""
    networks = ray.get(config["queue"])
    start = max(config.worker_index - 1, 0) % len(networks)
    settings, queue = config["settings"], networks[start:] + networks[:start]
    env = PruningEnv(queue, config["reward"], settings.choice, config["finetune"], fit=settings.fit)
    return RescaleAction(env, *_scale(config["reward"], settings).bounds)


def _scale(reward: Reward, settings: Settings) -> Scale:
    return Scale(first_share(reward), settings.deviation / 2.0)


def _config(settings: Settings, decisions: int, environment: Mapping[str, Any], runners: int) -> Any:
    steps = settings.episodes * decisions
    return (
        PPOConfig()
        .environment(_ENV, env_config=dict(environment), normalize_actions=False, clip_actions=True)
        .env_runners(
            num_env_runners=runners,
            batch_mode="complete_episodes",
            rollout_fragment_length=decisions,
            sample_timeout_s=None,  # RLlib throws longer episodes away
        )
        .learners(num_learners=0)
        .rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=[64, 64], fcnet_activation="tanh", vf_share_layers=False, free_log_std=True
            )
        )
        .training(
            lr=settings.learning_rate,
            gamma=settings.discount,
            lambda_=settings.smoothing,
            clip_param=settings.clip,
            num_epochs=settings.epochs,
            minibatch_size=min(settings.minibatch, steps),
            train_batch_size_per_learner=steps,
        )
        .callbacks(on_episode_end=_ended)
        # One that is to be restarted is waited for, also where no processor is left for it.
        .fault_tolerance(restart_failed_env_runners=False, ignore_env_runner_failures=True)
        .debugging(seed=settings.seed, log_level="ERROR")
    )


def _ended(*, episode: Any, metrics_logger: Any, **_: Any) -> None:
    last = episode.get_infos(-1)
    for name in MEASURES:
        metrics_logger.log_value(("pruning", name), float(last[name]), reduce="item_series", window=100_000)


def _episodes(result: Mapping[str, Any]) -> list[dict[str, float]]:
    """What the environments said at the end of each episode of an iteration; nothing where none is left."""
    found = result.get("env_runners", {}).get("pruning", dict.fromkeys(MEASURES, ()))
    return [dict(zip(MEASURES, values, strict=True)) for values in zip(*(found[n] for n in MEASURES), strict=True)]


def _acting(module: Any, scale: Scale) -> Any:
    def act(observation: Observation) -> tuple[float, float]:
        with torch.no_grad():
            made = module.forward_inference({"obs": torch.from_numpy(observation[None])})
        mean, log_deviation = made["action_dist_inputs"][0].tolist()
        return scale.share(mean), scale.unit * math.exp(log_deviation)

    return act


def _saved(folder: Path) -> Path | None:
    """The policy of the last iteration in `folder`."""
    return max(folder.glob(f"{_PREFIX}[0-9]*"), key=_iteration, default=None)


def _iteration(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX))


def _save(algorithm: Any, folder: Path, iteration: int) -> None:
    """Save the policy of an iteration whole, and then remove older ones and what killed processes left."""
    path = folder / f"{_PREFIX}{iteration:06d}"
    draft = folder / f".{path.name}.tmp"
    with write_errors(path):
        shutil.rmtree(draft, ignore_errors=True)
        algorithm.save_to_path(str(draft.resolve()))
        draft.rename(path)
    for other in (*folder.glob(f"{_PREFIX}[0-9]*"), *folder.glob(f".{_PREFIX}*.tmp")):
        if other != path:
            shutil.rmtree(other, ignore_errors=True)


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """A context in which Ray runs: the cluster at `address`, one that is connected already, or one of this machine."""
    if ray.is_initialized():
        yield
        return
    _check_answer(address)
    try:
        # Without an address, Ray would join any cluster that runs here.
        ray.init(address=address or "local", include_dashboard=None if address else False, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"no Ray cluster at {address}: {' '.join(str(error).split())}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_processors(runners: int) -> None:
    """Check that all environments can run: Ray waits for a processor without an end."""
    processors = int(ray.cluster_resources().get("CPU", 0))
    if runners > processors:
        raise ArgumentError(f"runners: {runners} need a processor each, and the cluster has {processors}")


def _check_answer(address: str | None) -> None:
    """Check that somebody listens at host:port: Ray itself waits for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), _ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ArgumentError(f"no Ray cluster answers at {address}: start one, or leave the address out") from error
