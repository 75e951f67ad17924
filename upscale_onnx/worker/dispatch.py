"""Where a function runs: in the worker, or in this process, on the thread that onnxruntime works on.

Flushing denormals is a state of the processor that onnxruntime sets, once, for the thread that makes the first
session, and never takes back. In a worker, or on a thread of its own, it does not reach the arithmetic of whoever
calls us.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from upscale_onnx.worker.client import WORKER

P = ParamSpec("P")
R = TypeVar("R")

IN_PROCESS_VARIABLE = "UPSCALE_IN_PROCESS"
_NAME = "upscale_onnx-runtime"
_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix=_NAME)


class _State:
    """How this process runs what is decorated. beat: tells the process that waits that we are alive."""

    is_worker = False
    here = 0
    beat: Callable[[], None] | None = None


def in_worker(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, a module's own, executed in the worker; the caller waits. Calls inside the worker stay there.

    Functions among the arguments are called here. The call may raise, beside what `function` does:
        ModelError: the worker crashed, ran out of memory, or took too long.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if is_isolated():
            found: R = WORKER.call(function.__module__, function.__qualname__, args, kwargs)
            return found
        return on_runtime_thread(function)(*args, **kwargs)

    return call


def on_runtime_thread(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, run in this process on the runtime's thread, with all that it calls; the caller waits."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _State.is_worker or threading.current_thread().name.startswith(_NAME):
            return function(*args, **kwargs)
        return _THREAD.submit(function, *args, **kwargs).result()

    return call


def is_isolated() -> bool:
    """Whether decorated functions run in another process than this."""
    if _State.is_worker or _State.here or os.environ.get(IN_PROCESS_VARIABLE):
        return False
    # A frozen program is no interpreter that could be started anew.
    if not sys.executable or getattr(sys, "frozen", False):
        return False
    return not threading.current_thread().name.startswith(_NAME)


@contextlib.contextmanager
def in_process() -> Iterator[None]:
    """A context in which everything runs in this process, for debuggers and for tests that replace functions."""
    _State.here += 1
    try:
        yield
    finally:
        _State.here -= 1


def beat() -> None:
    """Say, in the worker, that a step is done: the time limit counts anew. Elsewhere nothing happens."""
    if _State.beat is not None:
        _State.beat()


def become_worker(tell: Callable[[], None]) -> None:
    """From now on this process is the worker; `tell` sends a sign of life."""
    _State.is_worker, _State.beat = True, tell
