"""Limits of the worker: its time for one step, and its memory.

The variables `UPSCALE_TIME_LIMIT_S` and `UPSCALE_MEMORY_GB` set them. Memory is read from /proc; on systems without
it, memory is not limited.
"""

from __future__ import annotations

import os
from pathlib import Path

from upscale_onnx.errors import ArgumentError

TIME_VARIABLE, MEMORY_VARIABLE = "UPSCALE_TIME_LIMIT_S", "UPSCALE_MEMORY_GB"
_STEP_SECONDS = 300.0
_MEMORY_SHARE = 0.8
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def step_seconds() -> float:
    """The most seconds that one step of the worker may take: an inference, a new session, a round of a race.

    Raises:
        ArgumentError: the variable is not a positive number.
    """
    return _positive(TIME_VARIABLE) or _STEP_SECONDS


def memory_bytes() -> float:
    """The most bytes of memory that the worker may hold; infinity if the machine's memory is unknown.

    Raises:
        ArgumentError: the variable is not a positive number.
    """
    chosen = _positive(MEMORY_VARIABLE)
    return chosen * 2**30 if chosen else _MEMORY_SHARE * _machine_bytes()


def held_bytes(process: int) -> int:
    """The resident memory of a process in bytes; 0 if it cannot be read."""
    try:
        pages = Path(f"/proc/{process}/statm").read_bytes().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _machine_bytes() -> float:
    try:
        machine = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
    try:
        return min(machine, float(_CONTAINER_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such file, or "max"
        return machine


def _positive(variable: str) -> float | None:
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ArgumentError(f"{variable}={text}: give a positive number")
    return value
