"""Signals that ask the process to end raise an exception, so that unfinished work is cleaned up."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(BaseException):
    """The process was asked to end. Like KeyboardInterrupt, it is not caught by `except Exception`.

    exit_code: the exit code that shells report for the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@contextlib.contextmanager
def terminations_raise() -> Iterator[list[int]]:
    """A context in which a signal to end raises `Terminated`, unless the caller has set a handler for the signal.

    It yields the numbers of the signals that came, Ctrl-C among them. Whoever catches an error can see there that the
    process was to end: some libraries turn what is raised while they are imported into an error of their own.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def raised(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)

    usual = dict.fromkeys(_SIGNALS, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    handlers = {number: handler for number, handler in usual.items() if signal.getsignal(number) is handler}
    for number in handlers:
        signal.signal(number, raised)
    try:
        yield came
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """A context in which signals to end, and Ctrl-C, have no effect until it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (*_SIGNALS, signal.SIGINT)}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
