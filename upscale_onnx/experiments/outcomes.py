"""What comes of points: measured one after the other, or by several processes on this machine."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from upscale_onnx.errors import ArgumentError
from upscale_onnx.experiments.bases import Base
from upscale_onnx.experiments.figures import Wanted
from upscale_onnx.experiments.points import Outcome

Outcomes = Callable[[Sequence[Wanted]], Iterable[Outcome]]
"""Returns what comes of points, in their order, each as soon as it is known."""

MakeBases = Callable[[], Sequence[Base]]

_makers: list[MakeBases] = []
"""What makes the base networks of a process that helps."""


def in_turn(bases: Sequence[Base]) -> Outcomes:
    """Outcomes that this process measures."""
    return lambda wanted: (_outcome(one, bases) for one in wanted)


@contextlib.contextmanager
def of_workers(count: int, make_bases: MakeBases) -> Iterator[Outcomes]:
    """A context whose value gives outcomes that `count` other processes measure. They end with it, at once.

    make_bases: is sent to each process, which calls it once, when it is first asked.

    Raises: ArgumentError in the context where one of them is killed.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork would share the worker that runs models
    others = multiprocessing.active_children()
    executor = ProcessPoolExecutor(count, spawn, initializer=_begin, initargs=(make_bases,))
    try:
        yield lambda wanted: executor.map(_own_outcome, wanted)
    except BrokenProcessPool as error:
        told = "one of the processes was killed, most likely because memory ran out: start again with fewer --workers"
        raise ArgumentError(told) from error
    finally:
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        executor.shutdown(cancel_futures=True)


def _begin(make_bases: MakeBases) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that is helped decides when to end
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _makers.append(make_bases)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@functools.cache
def _own_bases() -> Sequence[Base]:
    return _makers[0]()


def _own_outcome(wanted: Wanted) -> Outcome:
    return _outcome(wanted, _own_bases())


def _outcome(wanted: Wanted, bases: Sequence[Base]) -> Outcome:
    point = wanted.point
    return bases[point.network].outcome(point, wanted.shares, is_scaled=wanted.is_scaled)
