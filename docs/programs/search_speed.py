"""The speed of a search: its evaluations against bare onnxruntime, and its overhead with many finished trials.

python docs/programs/search_speed.py evaluations MODEL.onnx [--images 1000] [--rounds 5]
python docs/programs/search_speed.py trials [--count 10000] [--strategies random,tpe,gp,nsga2]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["UPSCALE_IN_PROCESS"] = "1"  # so that the time of this process is all of it

from upscale_onnx import Options
from upscale_onnx.candidates.families import random_shares
from upscale_onnx.candidates.space import Space
from upscale_onnx.measures.measure import Top1
from upscale_onnx.searching.cache import Cache
from upscale_onnx.searching.goals import Constraint, Goals
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.strategies import Setting, make_strategy
from upscale_onnx.searching.study import Study
from upscale_onnx.searching.subject import Subject
from upscale_onnx.searching.trials import Proposal

DECISIONS = 13
FOLLOWING = 64  # trials of each strategy that are timed behind the first


def cpu_seconds(action: Callable[[], object]) -> float:
    """Processor seconds of `action`."""
    start = time.process_time()
    action()
    return time.process_time() - start


def evaluations(model: str, images: int, rounds: int) -> None:
    """Print seconds of bare inference and of evaluations of random profiles, in turns, with no rung given up."""
    loaded, rng = onnx.load(model), np.random.default_rng(0)
    (spec,) = loaded.graph.input
    dims = [part.dim_value for part in spec.type.tensor_type.shape.dim][1:]
    x = rng.normal(size=(images, *dims)).astype(np.float32)
    batches = [
        ({spec.name: x[place : place + 50]}, np.zeros(len(x[place : place + 50]), np.int64))
        for place in range(0, images, 50)
    ]
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    space = Space.of(loaded, Options.of(method="constrained", provider="cpu"))
    problem = Problem((Subject(space, Top1(batches, 0.1, SimpleNamespace(provider="cpu", threads=1))),))  # type: ignore[arg-type]

    def bare() -> None:
        for inputs, _ in batches:
            session.run(None, inputs)

    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder) / "cache")
        bare(), problem.evaluate((0.5,) * problem.decisions, cache=cache)
        pairs = [
            (
                cpu_seconds(bare),
                cpu_seconds(lambda: problem.evaluate(random_shares(problem.decisions, rng), cache=cache)),
            )
            for _ in range(rounds)
        ]
    plain, own = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"{model}: {images} images bare {plain:.3f} s, an evaluation {own:.3f} s, evaluations per bare pass {ratio:.2f}"
    )


def trials(count: int, strategies: list[str]) -> None:
    """Print what a trial costs beside its evaluation, and what opening a study of `count` trials takes."""
    goals, rng = Goals(("accuracy", "macs"), (Constraint.parse("params<=0.5"),), 0.9), np.random.default_rng(0)

    def measured(shares: tuple[float, ...]) -> Measured:
        size = float(np.mean(shares)) ** 2
        return Measured(size, size, 1 / size, shares, float(min(0.9, size**0.15) + rng.normal() * 0.01), images=1000)

    def trial(study: Study, propose: Callable[[Any, int], Proposal | None]) -> tuple[float, float]:
        start, cpu = time.perf_counter(), time.process_time()
        with study.turn() as history:
            proposal = propose(history, study.count)
            assert proposal is not None
            begun = study.begin(proposal)
        study.finish(begun, measured(begun.proposal.shares), 0.1)
        return time.perf_counter() - start, time.process_time() - cpu

    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), DECISIONS, goals, {"what": "speed"})
        for _ in range(count):
            trial(study, lambda history, number: Proposal(random_shares(DECISIONS, rng), "random"))
        study.close()
        start, cpu = time.perf_counter(), time.process_time()
        study = Study(Path(folder), DECISIONS, goals, {"what": "speed"})
        study.update()
        spent = time.perf_counter() - start, time.process_time() - cpu
        print(f"resume with {len(study.history.finished)} trials: {spent[0]:.2f} s, {spent[1]:.2f} s of processor")
        for name in strategies:
            setting = Setting(cast(Any, SimpleNamespace(decisions=DECISIONS)), goals, count)
            strategy = make_strategy(name, setting)
            # A mean, since a strategy may compute several proposals at once.
            found = [trial(study, strategy.propose) for _ in range(1 + FOLLOWING)]
            wall, own = (1e3 * statistics.mean(column) for column in zip(*found[1:], strict=True))
            print(f"{name}: first {1e3 * found[0][0]:.0f} ms, then {wall:.0f} ms, {own:.0f} ms of processor")
        study.close()


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("evaluations")
    one.add_argument("model")
    one.add_argument("--images", type=int, default=1000)
    one.add_argument("--rounds", type=int, default=5)
    other = commands.add_parser("trials")
    other.add_argument("--count", type=int, default=10000)
    other.add_argument("--strategies", default="random,tpe,gp,nsga2")
    args = parser.parse_args()
    if args.what == "evaluations":
        evaluations(args.model, args.images, args.rounds)
    else:
        trials(args.count, args.strategies.split(","))


if __name__ == "__main__":
    main()
