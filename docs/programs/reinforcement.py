"""Profiles by reinforcement learning against random ones, on a network that the policy has not seen.

    python docs/programs/reinforcement.py transfer --queue A.onnx B.onnx --data VAL.npz --unseen C.onnx \\
        --unseen-data VAL2.npz --out FOLDER [--compressions 2 4 6] [--iterations 50] [--profiles 100]
        [--learning-rate 0.001] [--deviation 0.2] [--reward gaussian|ashok] [--fit] [--repair lsq]
        [--calibrate 64] [--unseen-images 10000] [--draws 100] [--draw-images 5000]
    python docs/programs/reinforcement.py speed A.onnx --data VAL.npz [--images 500]

transfer: for each compression, PPO trains a policy on the networks of the queue in turn. The policy decides a profile
of the unseen network in one episode, or it draws several on the queue; the mean of those that are best there is scaled
to the compression that was asked for (--draws). Random profiles, U(0.3, 0.9) for each decision, are scaled to the
compression that this profile has, and so is the equal one. FOLDER/results.csv has a row for every profile and its
accuracy; printed is the share of random profiles that are worse. Channels are chosen in one way for all (--choice), so
that only profiles differ. Nothing is fine-tuned. The same command goes on where it was stopped.

speed: steps of the environment and iterations of PPO per second, and what the time goes into.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
from accuracy_data import Results, Row

from upscale_onnx.candidates.families import at_compression, random_shares
from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.candidates.space import Space
from upscale_onnx.cli.arguments import positive
from upscale_onnx.cli.evaluate import add_preprocessing, preprocessing_from
from upscale_onnx.errors import ArgumentError
from upscale_onnx.measures.data import labelled
from upscale_onnx.model import load_model
from upscale_onnx.options import Options
from upscale_onnx.options.groups import Repair
from upscale_onnx.reinforce.environment import PruningEnv
from upscale_onnx.reinforce.fitting import fitted
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.observation import taylor_features
from upscale_onnx.reinforce.policies import Policy
from upscale_onnx.reinforce.ppo import train
from upscale_onnx.reinforce.rewards import SEVERITY, Ashok, Gaussian, Reward
from upscale_onnx.reinforce.runs import MEASURES, Settings
from upscale_onnx.report.training_curve import write_training_curve
from upscale_onnx.torch_backend.threads import torch_threads
from upscale_onnx.worker.dispatch import IN_PROCESS_VARIABLE

KEY = ("target", "profile", "number")
MEASURED = ("compression", "accuracy", "unpruned", "shares")
_TOLERANCE = 0.05  # of a random profile's compression
_SECONDS = 20.0
_LAST = 5  # iterations that say where a training ends
_CALIBRATE = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    transfer = commands.add_parser("transfer", help="compare with random profiles on an unseen network")
    transfer.add_argument("--queue", type=Path, nargs="+", required=True, metavar="FILE")
    transfer.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE", help="one, or one a network")
    transfer.add_argument("--unseen", type=Path, required=True, metavar="FILE")
    transfer.add_argument("--unseen-data", type=Path, required=True, metavar="FILE")
    transfer.add_argument("--compressions", type=float, nargs="+", default=[2.0, 4.0, 6.0], metavar="F")
    transfer.add_argument("--iterations", type=positive, default=50, metavar="N")
    transfer.add_argument("--episodes", type=positive, default=16, metavar="N")
    transfer.add_argument("--learning-rate", type=float, default=Settings.learning_rate, metavar="R")
    spread = "standard deviation of the first policy's actions; shares have half of it"
    transfer.add_argument("--deviation", type=float, default=Settings.deviation, metavar="D", help=spread)
    transfer.add_argument("--reward", choices=("gaussian", "ashok"), default="gaussian")
    transfer.add_argument("--sigma", type=float, default=SEVERITY, metavar="S", help="a share of the compression")
    fit = "scale the profile of an episode to the compression before it is judged"
    transfer.add_argument("--fit", action="store_true", help=fit)
    transfer.add_argument("--choice", choices=get_args(Choice), default="scores")
    draws = "profiles that the policy draws on the queue, for the mean of the best; 1: it decides on the unseen network"
    transfer.add_argument("--draws", type=positive, default=1, metavar="N", help=draws)
    images = "of each network's data, where drawn profiles are judged (as --images)"
    transfer.add_argument("--draw-images", type=positive, metavar="N", help=images)
    transfer.add_argument("--profiles", type=positive, default=100, metavar="N")
    transfer.add_argument("--unseen-images", type=positive, metavar="N", help="of the unseen data (as --images)")
    transfer.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    speed = commands.add_parser("speed", help="steps and iterations per second")
    speed.add_argument("model", type=Path, metavar="FILE")
    speed.add_argument("--data", type=Path, required=True, metavar="FILE")
    for command in (transfer, speed):
        command.add_argument("--images", type=positive, default=500, metavar="N", help="of each network's data")
        command.add_argument("--seed", type=int, default=0, metavar="N")
        command.add_argument("--repair", choices=get_args(Repair), help="of what is pruned, before it is judged")
        calibrate = "images of each network's data for repair"
        command.add_argument("--calibrate", type=positive, default=_CALIBRATE, metavar="N", help=calibrate)
        add_preprocessing(command)
    args = parser.parse_args(argv)
    if args.command == "speed":
        os.environ[IN_PROCESS_VARIABLE] = "1"
        _speed(_network(args.model, args.data, args, args.images), args.seed)
    else:
        _transfer(args)
    return 0


def _network(model: Path, data: Path, args: argparse.Namespace, images: int) -> Network:
    loaded = load_model(model)
    measure = labelled(loaded, data, preprocessing_from(args), limit=images, seed=args.seed)
    options = Options.of(method="constrained")
    if args.repair:
        (name,) = measure.batches[0][0]
        first = np.concatenate([inputs[name] for inputs, _ in measure.batches])[: args.calibrate]
        options = options.replaced(repair=args.repair, calibration={name: first})
    return Network.of(Space.of(loaded, options), measure)


def _transfer(args: argparse.Namespace) -> None:
    data = args.data * len(args.queue) if len(args.data) == 1 else args.data
    queue, judges = (
        [_network(model, own, args, images) for model, own in zip(args.queue, data, strict=True)] if images else []
        for images in (args.images, args.draw_images)
    )
    unseen = _network(args.unseen, args.unseen_data, args, args.unseen_images or args.images)
    args.out.mkdir(parents=True, exist_ok=True)
    results = Results(args.out / "results.csv", KEY, MEASURED)
    settings = Settings(
        args.iterations,
        args.episodes,
        args.choice,
        args.seed,
        args.learning_rate,
        deviation=args.deviation,
        fit=args.fit,
    )
    for target in args.compressions:
        reward, folder = _reward(args, target), args.out / f"compression-{target:g}"
        policy = train(queue, reward, folder, settings, progress=_tell)
        _draw(folder, target)
        if not _rows_of(results, target, "policy"):
            results.add(_decided(policy, judges or queue, unseen, target, reward, args))
        compression = float(_rows_of(results, target, "policy")[0]["compression"])
        _scaled(results, unseen, target, ("equal", 0), compression, args.choice)
        for number in range(args.profiles):
            _scaled(results, unseen, target, ("random", number), compression, args.choice)
        _judge(results, target, folder)


def _rows_of(results: Results, target: float, profile: str) -> list[Row]:
    """The rows of profiles of that kind which have an accuracy."""
    rows = (row for row in results.rows if float(row["target"]) == target and row["profile"] == profile)
    return [row for row in rows if row["accuracy"]]


def _decided(
    policy: Policy, queue: Sequence[Network], unseen: Network, target: float, reward: Reward, args: argparse.Namespace
) -> dict[str, object]:
    """The row of the policy's profile, decided on the unseen network, or the best of several drawn on the queue."""
    if args.draws == 1:
        profile = policy.apply(unseen, reward, args.choice, args.seed).profile
    else:
        profile = policy.best_of(args.draws, queue, reward, args.choice, args.seed)
    scaled = args.fit or args.draws > 1
    make = partial(fitted, profile, unseen, reward) if scaled else partial(unseen.space.candidate, profile)
    candidate = make(args.choice, args.seed)
    if candidate is None:
        raise ArgumentError(f"{args.unseen}: no scale of the best profile has a compression of {target:g}")
    outcome = unseen.outcome(candidate)
    return _row(target, "policy", 0, outcome.compression, outcome.accuracy, unseen, candidate.shares)


def _reward(args: argparse.Namespace, target: float) -> Reward:
    """Gaussian, or Ashok's, which aims at no compression."""
    return Ashok() if args.reward == "ashok" else Gaussian(target, args.sigma * target)


def _scaled(
    results: Results, network: Network, target: float, named: tuple[str, int], compression: float, choice: Choice
) -> None:
    """Add the random profile of a number, or the equal one. One that reaches no such compression has no accuracy."""
    (profile, number), space = named, network.space
    if results.has({"target": target, "profile": profile, "number": number}):
        return
    count = len(space.decisions)
    shares = random_shares(count, np.random.default_rng(number)) if profile == "random" else (0.5,) * count
    found = at_compression(space, shares, compression, _TOLERANCE, choice=choice, seed=number)
    accuracy = None if found is None else network.measure.value(space.candidate_of(found.masks, choice).model)
    reached, kept = (None, shares) if found is None else (found.compression, found.shares)
    results.add(_row(target, profile, number, reached, accuracy, network, kept))


def _row(
    target: float,
    profile: str,
    number: int,
    compression: float | None,
    accuracy: float | None,
    network: Network,
    shares: Sequence[float],
) -> dict[str, object]:
    return {
        "target": target,
        "profile": profile,
        "number": number,
        "compression": "" if compression is None else f"{compression:.4f}",
        "accuracy": "" if accuracy is None else f"{accuracy:.4f}",
        "unpruned": f"{network.measure.baseline:.4f}",
        "shares": " ".join(f"{share:.3f}" for share in shares),
    }


def _judge(results: Results, target: float, folder: Path) -> None:
    (policy,) = _rows_of(results, target, "policy")
    drawn = np.array([float(row["accuracy"]) for row in _rows_of(results, target, "random")])
    own = float(policy["accuracy"])
    percentile = 100 * float(np.mean(drawn < own) + np.mean(drawn == own) / 2)
    reached, unpruned = float(policy["compression"]), float(policy["unpruned"])
    equal = "".join(f" equal profile {float(row['accuracy']):.1%};" for row in _rows_of(results, target, "equal"))
    ended = np.genfromtxt(folder / "curve.csv", delimiter=",", names=True, ndmin=1)["compression_mean"][-_LAST:]
    print(
        f"CF {target:g}: policy {own:.1%} at {reached:.2f}x, unpruned {unpruned:.1%};"
        f" its queue {ended.mean():.2f}x in the last {ended.size} iterations;{equal}"
        f" {drawn.size} random profiles: median {np.median(drawn):.1%}, best {drawn.max():.1%};"
        f" percentile of the policy {percentile:.0f}"
    )


def _draw(folder: Path, target: float) -> None:
    rows = np.genfromtxt(folder / "curve.csv", delimiter=",", names=True, ndmin=1)
    write_training_curve(
        [{name: float(row[name]) for name in rows.dtype.names} for row in rows],
        MEASURES,
        f"CF {target:g}",
        folder / "curve.png",
    )


def _speed(network: Network, seed: int) -> None:
    """Measure one thread's time, which others on the machine change less than what the clock shows.

    Native code runs in this process, so that its time counts."""
    env, rng, steps = PruningEnv([network], Gaussian(4.0)), np.random.default_rng(seed), 0
    space = network.space
    with torch_threads(1):
        env.reset(seed=seed)
        taylor_features(network, space.model, 0)
        began, clock = time.process_time(), time.monotonic()
        while time.monotonic() - clock < _SECONDS:
            env.reset()
            for share in rng.uniform(0.3, 0.9, len(space.decisions)):
                env.step([share])
                steps += 1
        spent, passed = time.process_time() - began, time.monotonic() - clock
        print(f"environment: {steps / spent:.1f} steps per second of processor time, {steps / passed:.1f} by the clock")
        profiles = [random_shares(len(space.decisions), rng) for _ in range(20)]
        made = [space.candidate(profile) for profile in profiles]
        parts = {
            "Taylor features of a step": lambda i: taylor_features(network, made[i].masked, i % len(space.decisions)),
            "a candidate": lambda i: space.candidate(profiles[i]),
            "its accuracy": lambda i: network.measure.value(made[i].model),
        }
        for name, part in parts.items():
            began = time.process_time()
            for i in range(len(profiles)):
                part(i)
            print(f"{name}: {1000 * (time.process_time() - began) / len(profiles):.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        count, said = 5, list[float]()
        train(
            [network],
            Gaussian(4.0),
            folder,
            Settings(count, seed=seed),
            progress=lambda stage, share: said.append(time.process_time()),
        )
    print(f"PPO: {count / (said[-1] - said[0]):.2f} iterations of 16 episodes per second of processor time")


def _tell(stage: str, share: float) -> None:
    print(f"{stage} ({share:.0%})", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
