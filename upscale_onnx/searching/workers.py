"""Several processes of one search on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator

from upscale_onnx.searching.engine import Search, work
from upscale_onnx.searching.study import Study
from upscale_onnx.types import Progress

_PATIENCE = 5.0  # seconds that a process has to end by itself


def work_together(search: Search, study: Study, workers: int, progress: Progress | None = None) -> None:
    """Make trials in this process and in `workers` - 1 others, until there are enough."""
    with _helping(search, workers - 1):
        work(search, study, progress)


@contextlib.contextmanager
def _helping(search: Search, count: int) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")  # a fork would share the worker that runs models
    others = [context.Process(target=_help, args=(search, os.getpid()), daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.terminate()
        for other in others:
            other.join(_PATIENCE)
            other.kill()  # no finished trial is lost by that
            other.join()


def _help(search: Search, parent: int) -> None:
    """Make trials as long as the process `parent` lives."""
    study = search.open()
    try:
        work(search, study, until=lambda: os.getppid() != parent)
    finally:
        study.close()
