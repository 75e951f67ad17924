"""Calibration: the operators of a model are timed on this machine, also at other channel counts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from upscale_onnx.model.kernels import Kernel, alone
from upscale_onnx.runtime.groups import groups
from upscale_onnx.runtime.inputs import feasible_inputs
from upscale_onnx.runtime.optimise import prepared_model
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.runtime.standins import size_of, stand_in_model, stand_ins
from upscale_onnx.runtime.timing import TimedKernel, latency_ms, time_kernels, time_repeated
from upscale_onnx.types import Array, Progress

_GROUP_SECONDS = 0.1
# Stand-ins are run in one graph: at most so many, of so many elements together.
_GROUP_NODES, _GROUP_ELEMENTS = 48, 2**24
# Everything is timed this many times, within the time budget. The shortest time counts.
_TURNS = 3
_MODEL_SECONDS = 1.0
_MOST_NODE_MS, _LEAST_NODE_MS = 0.005, -0.005

Known = Callable[[Kernel], bool]
Store = Callable[[Sequence[TimedKernel], float | None], None]


@dataclass(frozen=True)
class Calibrated:
    """What a calibration did.

    kernels: the nodes that the model executes.
    input_ms: the measured latency of the model.
    timed: how many stand-ins have been timed, now or before.
    wanted: how many stand-ins there are.
    seconds: how long the calibration took.
    """

    kernels: tuple[Kernel, ...]
    input_ms: float
    timed: int
    wanted: int
    seconds: float


def calibrate(
    model: ModelProto,
    *,
    block: int,
    known: Known,
    store: Store,
    provider: Device = "cpu",
    threads: int = 1,
    budget_s: float = 60.0,
    batch: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Calibrated:
    """Time the nodes of `model` and stand-ins for them, within `budget_s` seconds. The most expensive come first.

    known: says whether a node has been timed before and need not be timed again.
    store: is called every few nodes with the measured times, and with the overhead per node in milliseconds, or None
    if that is not known. What it was given is not lost if the calibration is interrupted.

    Raises:
        ModelError: the model cannot be loaded or run.
    """
    tell = progress or (lambda stage, fraction: None)
    tell("model", 0.0)
    session = make_session(model, provider=provider, threads=threads)
    feed = feasible_inputs(lambda candidate: run(session, candidate), model, seed=seed, batch=batch)
    prepared = prepared_model(model, {name: value.shape for name, value in feed.items()})
    deadline = _Deadline(time.perf_counter(), budget_s)
    clock = _Clock(provider, threads, seed)
    timed, total = clock.model(prepared, feed, min(_MODEL_SECONDS, budget_s / 4))
    kernels = tuple(kernel for kernel, _ in timed)
    wanted = stand_ins(kernels, block)
    todo = [kernel for kernel in wanted if not known(kernel)]
    done = len(wanted) - len(todo)
    for turn in range(_TURNS):
        if turn > 0:
            timed, again = clock.model(prepared, feed, min(_MODEL_SECONDS, budget_s / 4))
            total, todo = min(total, again), list(wanted)
        if provider == "cpu":
            store(timed, _node_ms(timed, total))
        for count, group in _counted(groups(todo, size_of, _GROUP_ELEMENTS, _GROUP_NODES)):
            if deadline.spent > 1.0 and (turn > 0 or count > 0):  # one group is always timed: short runs make progress
                break
            share = (turn + count / max(len(todo), 1)) / _TURNS
            tell(f"{min(done, len(wanted))} of {len(wanted)} shapes", min(max(deadline.spent, share), 1.0))
            store(clock.stand_ins(group), None)
            done += 0 if turn else len(group)
        else:
            done = len(wanted)
            continue
        break
    tell("done", 1.0)
    return Calibrated(kernels, total, min(done, len(wanted)), len(wanted), deadline.seconds)


def _counted(parts: Iterable[list[Kernel]]) -> Iterator[tuple[int, list[Kernel]]]:
    """Each group with the number of nodes in the groups before it."""
    before = 0
    for group in parts:
        yield before, group
        before += len(group)


@dataclass(frozen=True)
class _Deadline:
    started: float
    budget_s: float

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    @property
    def spent(self) -> float:
        """The share of the budget that is used up; above 1 when the budget is exceeded."""
        return self.seconds / self.budget_s


@dataclass(frozen=True)
class _Clock:
    """Times nodes in the way that the provider allows."""

    provider: Device
    threads: int
    seed: int

    def model(
        self, model: ModelProto, feed: Mapping[str, Array], seconds: float
    ) -> tuple[tuple[TimedKernel, ...], float]:
        timed = time_kernels(model, feed, provider=self.provider, threads=self.threads, seconds=seconds)
        return timed, latency_ms(model, feed, provider=self.provider, threads=self.threads, seconds=seconds / 2)

    def stand_ins(self, group: Sequence[Kernel]) -> tuple[TimedKernel, ...]:
        if self.provider != "cpu":
            return time_repeated(group, provider=self.provider, threads=self.threads, seed=self.seed)
        timed = self._together(group)
        if len(group) > 1:
            # Other work on the machine can hide the times of several long nodes in one graph. Alone, each can be told.
            hidden = [kernel for kernel, ms in timed if not math.isfinite(ms) and kernel.workload is not None]
            timed += tuple(entry for kernel in hidden for entry in self._together([kernel]))
        return tuple((alone(kernel), ms) for kernel, ms in timed if math.isfinite(ms))

    def _together(self, group: Sequence[Kernel]) -> tuple[TimedKernel, ...]:
        model, feed = stand_in_model(group, self.seed)
        return time_kernels(model, feed, provider="cpu", threads=self.threads, seconds=_GROUP_SECONDS)


def _node_ms(timed: Sequence[TimedKernel], total: float) -> float | None:
    if not all(math.isfinite(ms) for _, ms in timed):
        return None
    beside = (total - sum(ms for _, ms in timed)) / max(len(timed), 1)
    return min(max(beside, _LEAST_NODE_MS), _MOST_NODE_MS)
