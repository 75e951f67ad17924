"""Decides where a function runs: in the worker, or in this process on a thread for onnxruntime.

onnxruntime makes the thread that creates the first session set denormals to zero, and never resets this. In the
worker, or on a thread of its own, this does not change the arithmetic of the caller.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from upscale_onnx.worker.client import WORKER

P = ParamSpec("P")
R = TypeVar("R")

IN_PROCESS_VARIABLE = "UPSCALE_IN_PROCESS"
_NAME = "upscale_onnx-runtime"
_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix=_NAME)


class _State:
    """How this process runs decorated functions.

    is_worker: whether this process is the worker.
    here: how many `in_process` contexts are active.
    beat: in the worker, tells the parent that a step is done.
    """

    is_worker = False
    here = 0
    beat: Callable[[], None] | None = None


def in_worker(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap `function`, a global function of a module, so that it runs in the worker; the caller waits.

    In the worker itself it is called directly. Functions among the arguments are called in the caller's process. If an
    argument is a mapping that holds functions, `function` runs in the caller's process, too.

    Raises, besides what `function` raises:
        ModelError: the worker crashed, ran out of memory, or took too long.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if is_isolated() and not any(map(_holds_functions, (*args, *kwargs.values()))):
            found: R = WORKER.call(function.__module__, function.__qualname__, args, kwargs)
            return found
        return on_runtime_thread(function)(*args, **kwargs)

    return call


def _holds_functions(argument: object) -> bool:
    return isinstance(argument, Mapping) and any(map(callable, argument.values()))


def on_runtime_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap `function` so that it runs in this process, on the thread for onnxruntime, with all that it calls."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _State.is_worker or threading.current_thread().name.startswith(_NAME):
            return function(*args, **kwargs)
        return _THREAD.submit(function, *args, **kwargs).result()

    return call


def is_isolated() -> bool:
    """Whether decorated functions run in another process than this one."""
    if _State.is_worker or _State.here or os.environ.get(IN_PROCESS_VARIABLE):
        return False
    # The executable of a frozen program is no Python interpreter, so no worker can be started from it.
    if not sys.executable or getattr(sys, "frozen", False):
        return False
    return not threading.current_thread().name.startswith(_NAME)


@contextlib.contextmanager
def in_process() -> Iterator[None]:
    """A context in which decorated functions run in this process, for debuggers and tests that replace functions."""
    _State.here += 1
    try:
        yield
    finally:
        _State.here -= 1


def beat() -> None:
    """In the worker, report that a step is done, so that the time limit starts again. Elsewhere, do nothing."""
    if _State.beat is not None:
        _State.beat()


def become_worker(tell: Callable[[], None]) -> None:
    """Make this process the worker. `tell` reports to the parent that a step is done."""
    _State.is_worker, _State.beat = True, tell
