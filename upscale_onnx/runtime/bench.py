"""Races: models are timed in turns, so that a slow phase of the machine affects all of them."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import onnx
from onnx import ModelProto

from upscale_onnx.errors import ArgumentError, ModelError, ProviderError, UpscaleError
from upscale_onnx.results import Race, Timing
from upscale_onnx.runtime.inputs import Inputs, feasible_inputs
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import bound_inference, make_session, run
from upscale_onnx.runtime.statistics import median_ratio
from upscale_onnx.types import Array
from upscale_onnx.worker import beat, in_worker

MIN_ROUNDS = 7
_ROUND_SECONDS = 0.02
_WARMUP_SECONDS = 0.05
_TRIAL_ROUNDS = 3
_HOPELESS = 1.25
_CUDA = "CUDAExecutionProvider"


Infer = Callable[[], object]
Engine = Callable[[Inputs], Infer]
"""Another runtime: a function that takes the inputs and returns a function that runs one inference on them."""
Runner = ModelProto | str | os.PathLike[str] | Engine


@dataclass
class _Runner:
    name: str
    infer: Infer
    iterations: int = 1
    seconds: list[float] = field(default_factory=list)  # one median per round
    rounds: list[int] = field(default_factory=list)  # the rounds that the runner took part in


@in_worker
def race(
    runners: Mapping[str, Runner],
    *,
    provider: Device = "cpu",
    threads: int = 1,
    rounds: int = 25,
    warmup: int = 3,
    seed: int = 0,
    budget_s: float = 10.0,
    inputs: Mapping[str, Array] | None = None,
    batch: int | None = None,
    eliminate: bool = False,
    skip: Callable[[str, ModelError], None] | None = None,
    told: Callable[[float], None] | None = None,
) -> Race:
    """Measure the latencies, in ms, of models that take the same inputs, in interleaved rounds.

    A runner is a model, or an `Engine` of another runtime. In a round, each runner infers for about 20 ms, and its
    median time counts; the order rotates. `Timing.ratio` is the median over rounds of a runner's time divided by the
    first runner's time in the same round. There are `rounds` rounds, or as many as fit into `budget_s` seconds,
    but at least 7. The models are fed `inputs`, or random inputs with `batch` for a dynamic first axis.

    eliminate: runners that are more than 25 % slower than the best one after 3 rounds drop out; the first stays.
    skip: is called with the name and the error of a runner, other than the first, that cannot be run; the race goes
    on without it.
    told: is called with the share, 0 to 1, of the race that is over.

    If another runtime takes part, all runners run in this process instead of the worker.

    Raises:
        ArgumentError: there is nothing to race.
        ModelError: a model cannot be loaded or run. ProviderError: onnxruntime left a model to the CPU.
    """
    if not runners:
        raise ArgumentError("nothing to race: give at least one model")
    feed = dict(inputs) if inputs is not None else _random_feed(next(iter(runners.values())), provider, seed, batch)
    entries: list[_Runner] = []
    for name, model in runners.items():
        try:
            entries.append(_prepare(name, model, feed, provider, threads))
        except ModelError as error:
            if skip is None or not entries:
                raise
            skip(name, error)
    with _no_garbage_collection():
        for runner in entries:
            runner.iterations = _iterations(runner.infer, warmup)
        done = _run_rounds(entries, rounds, budget_s, eliminate, told)
    timings = tuple(_timing(runner, entries[0]) for runner in entries)
    return Race(timings, min(timings, key=lambda timing: timing.ratio).name, provider, threads, done, batch)


def _run_rounds(
    runners: list[_Runner],
    rounds: int,
    budget_s: float,
    eliminate: bool,
    told: Callable[[float], None] | None = None,
) -> int:
    active = list(runners)
    started = time.perf_counter()
    index = 0
    while index < rounds:
        shift = index % len(active)
        for runner in active[shift:] + active[:shift]:
            beat()
            runner.seconds.append(_median_seconds(runner.infer, runner.iterations))
            runner.rounds.append(index)
        index += 1
        if eliminate and index == _TRIAL_ROUNDS:
            best = min(median(runner.seconds) for runner in active)
            active = [r for r in active if r is runners[0] or median(r.seconds) <= _HOPELESS * best]
        spent = time.perf_counter() - started
        if told is not None:
            told(min(max(index / rounds, spent / budget_s), 1.0))
        if index >= MIN_ROUNDS and spent + spent / index > budget_s:
            break
    return index


def _iterations(infer: Infer, warmup: int) -> int:
    """Warm up, and return how many inferences make a round."""
    started, count = time.perf_counter(), 0
    while count < max(warmup, 1) or time.perf_counter() - started < _WARMUP_SECONDS:
        infer()
        count += 1
    return max(1, math.ceil(_ROUND_SECONDS / _median_seconds(infer, 3)))


def _median_seconds(infer: Infer, iterations: int) -> float:
    seconds = []
    for _ in range(iterations):
        started = time.perf_counter()
        infer()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def _timing(runner: _Runner, reference: _Runner) -> Timing:
    ratio = median_ratio(runner.seconds, [reference.seconds[index] for index in runner.rounds])
    low, middle, high = (float(value) for value in np.percentile(runner.seconds, (10, 50, 90)) * 1e3)
    rounds = tuple(seconds * 1e3 for seconds in runner.seconds)
    std = float(np.std(rounds))
    return Timing(runner.name, middle, low, high, ratio.value, ratio.low, ratio.high, std, rounds)


def _prepare(name: str, model: Runner, feed: Inputs, provider: Device, threads: int) -> _Runner:
    try:
        infer = model(feed) if callable(model) else _session_infer(model, feed, provider, threads)
        infer()
    except UpscaleError as error:
        raise type(error)(f"{name}: {error}") from error
    return _Runner(name, infer)


def _session_infer(model: ModelProto | str | os.PathLike[str], feed: Inputs, provider: Device, threads: int) -> Infer:
    session = make_session(model, provider=provider, threads=threads)
    run(session, feed)
    if provider == "cpu":
        return lambda: session.run(None, feed)
    # If CUDA cannot be set up, a session silently runs on the CPU, and the CPU would be timed.
    if _CUDA not in session.get_providers():
        raise ProviderError("onnxruntime did not run it on cuda; use --provider cpu")
    # Inputs and outputs are on the device, so that copies from and to the host are not timed.
    return bound_inference(session, feed, provider, f"cannot bind its inputs to {provider}")


def _random_feed(model: Runner, provider: Device, seed: int, batch: int | None) -> Inputs:
    if callable(model):
        raise ArgumentError("the first runner is no ONNX model: give the inputs")
    proto = model if isinstance(model, ModelProto) else onnx.load(model, load_external_data=False)
    session = make_session(model, provider=provider)
    return feasible_inputs(lambda candidate: run(session, candidate), proto, seed=seed, batch=batch)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
