"""The time of every node of a graph, as onnxruntime runs it."""

from __future__ import annotations

import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx
from onnx import ModelProto

from upscale_onnx.model.kernels import Kernel, alone, read_kernels
from upscale_onnx.runtime.profile import node_events
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import bound_inference, make_session, run
from upscale_onnx.runtime.standins import stand_in_model
from upscale_onnx.types import Array
from upscale_onnx.worker import beat, in_worker

_WARMUP, _LEAST_RUNS, _MOST_RUNS = 2, 5, 100
_MOST_WAIT = 3.0
_SLICE_MS = 1.0
_TOLERATED = 0.03
_FEW, _MANY = 1, 9

TimedKernel = tuple[Kernel, float]


@in_worker
def time_kernels(
    model: ModelProto, feed: Mapping[str, Array], *, provider: Device, threads: int, seconds: float
) -> tuple[TimedKernel, ...]:
    """Every executed node of `model` with its shortest time in ms, over runs of about `seconds`.

    The time is NaN for a node whose time cannot be told from other work on the machine.

    Raises:
        ModelError: the model cannot be loaded or run.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "optimised.onnx"
        prefix = str(Path(folder) / "profile")
        session = make_session(
            model, provider=provider, threads=threads, profile_prefix=prefix, optimized_path=str(path)
        )
        runs = _repeat(lambda: run(session, feed), seconds)
        events = node_events(session)
        kernels = read_kernels(onnx.load(path, load_external_data=False))
    times = _node_times(events, len(runs))
    if provider == "cpu" and threads == 1:
        times = _undisturbed(times, min(run.computed_ms for run in runs))
    return tuple((kernel, times[kernel.node]) for kernel in kernels if kernel.node in times)


def _node_times(events: Sequence[tuple[str, object, float]], runs: int) -> dict[str, float]:
    """The shortest time of each node in the last `runs` runs, in ms."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, _, ms in events:
        found[name].append(ms)
    return {name: min(times[-runs:]) for name, times in found.items()}


@in_worker
def latency_ms(
    model: ModelProto, feed: Mapping[str, Array], *, provider: Device, threads: int, seconds: float
) -> float:
    """The shortest latency of `model` in ms, over runs of about `seconds`.

    On one CPU thread, time for which other work had the processor is left out.

    Raises:
        ModelError: the model cannot be loaded or run.
    """
    session = make_session(model, provider=provider, threads=threads)
    infer: Callable[[], object] = partial(run, session, feed)
    if provider != "cpu":
        infer = bound_inference(session, feed, provider, f"cannot bind the inputs to {provider}")
    runs = _repeat(infer, seconds)
    if provider == "cpu" and threads == 1:
        return min(run.computed_ms for run in runs)
    return min(run.ms for run in runs)


@dataclass(frozen=True)
class _Run:
    """How long one run took, and for how much of that its thread had a processor, in ms."""

    ms: float
    computed_ms: float


def _repeat(infer: Callable[[], object], seconds: float) -> list[_Run]:
    """Run until this thread has computed for `seconds`. Time for which others had the processor does not count, so
    that every node gets an undisturbed run."""
    for _ in range(_WARMUP):
        infer()
    runs: list[_Run] = []
    begun, computed = time.perf_counter(), 0.0
    while len(runs) < _LEAST_RUNS or (
        len(runs) < _MOST_RUNS and computed < seconds and time.perf_counter() - begun < _MOST_WAIT * seconds
    ):
        beat()
        started, share = time.perf_counter(), time.thread_time()
        infer()
        spent = time.thread_time() - share
        runs.append(_Run((time.perf_counter() - started) * 1e3, spent * 1e3))
        computed += spent
    return runs


def _undisturbed(times: Mapping[str, float], computed_ms: float) -> dict[str, float]:
    """Node times that add up to no more than `computed_ms`, the time that one run computes; NaN if unknown.

    In some run, a short node is not interrupted. A node longer than the system's time slice always is if other work
    waits. The time of a single long node is what the short nodes leave of the run; of several, each is NaN.
    """
    long = {name for name, ms in times.items() if ms > _SLICE_MS}
    excess = sum(times.values()) - computed_ms
    if excess <= _TOLERATED * computed_ms or not long:
        return dict(times)
    left = max(computed_ms - sum(ms for name, ms in times.items() if name not in long), 0.0)
    share = left if len(long) == 1 and left > 0 else math.nan
    return {name: share if name in long else ms for name, ms in times.items()}


def time_repeated(group: Sequence[Kernel], *, provider: Device, threads: int, seed: int) -> tuple[TimedKernel, ...]:
    """Every stand-in with the time in ms that one more copy of it takes, for devices that run asynchronously.

    A graph with many copies of the node is compared with a graph of one, so that the overhead of a run cancels.
    """
    found = []
    for kernel in group:
        few, many = (_repeated_ms([kernel] * n, provider, threads, seed) for n in (_FEW, _MANY))
        found.append((alone(kernel), max((many - few) / (_MANY - _FEW), 0.0)))
    return tuple(found)


def _repeated_ms(kernels: Sequence[Kernel], provider: Device, threads: int, seed: int) -> float:
    model, feed = stand_in_model(kernels, seed, bare=True)
    return latency_ms(model, feed, provider=provider, threads=threads, seconds=0.0)
