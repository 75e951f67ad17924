"""The worker process: it makes the calls that its parent asks for, one at a time, until the parent ends."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any

from upscale_onnx.errors import InternalError
from upscale_onnx.worker.dispatch import become_worker
from upscale_onnx.worker.messages import Callback, CallerError, Channel, Handle

_PARENT_SECONDS = 1.0
_SESSIONS = "onnxruntime"


def main(modules: Sequence[str] = (), life: int | None = None) -> None:
    """Serve the parent through standard input and output. Import `modules` until its first call arrives.

    life: a pipe whose other end the parent holds open while it lives.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles interrupts
    writer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with messages
    if life is not None:
        _end_with(life)
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    reader = open(0, "rb", 0, closefd=False)  # noqa: SIM115
    server = _Server(reader, writer)
    become_worker(server.beat)
    _import(modules)
    with contextlib.suppress(EOFError, BrokenPipeError):
        server.serve()
    os._exit(0)  # without the destructors of sessions, some of which crash


class _Server:
    def __init__(self, reader: Any, writer: Any) -> None:
        self._channel = Channel(reader, writer, stays=_is_session, handle=_no_handle)

    def serve(self) -> None:
        """Make the calls in messages until there are no more messages."""
        while True:
            self._do(*self._channel.receive()[1:])

    def beat(self) -> None:
        """Tell the parent that a step is done."""
        self._channel.send(("beat",))

    def _do(
        self,
        module: str,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        released: tuple[int, ...],
        folder: str,
        variables: dict[str, str],
    ) -> None:
        for number in released:
            self._channel.kept.discard(number)
        _take_surroundings(folder, variables)
        try:
            function = getattr(importlib.import_module(module), name)
            found = function(*map(self._called, args), **{key: self._called(value) for key, value in kwargs.items()})
            answer = ("result", found)
            del args, kwargs, found
            self._channel.send(answer)
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:
            self._channel.send(("error", _sendable(error), traceback.format_exc()))

    def _called(self, value: Any) -> Any:
        """A function that calls the parent's function if `value` is a `Callback`, else `value` itself."""
        if not isinstance(value, Callback):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._channel.send(("callback", value.number, args, kwargs))
            while True:
                kind, *message = self._channel.receive()
                if kind == "call":  # the parent's function calls the worker
                    self._do(*message)
                    continue
                done, found = message
                if not done:
                    raise CallerError(found)
                return found

        return call


def _take_surroundings(folder: str, variables: dict[str, str]) -> None:
    with contextlib.suppress(OSError):
        os.chdir(folder)
    for name in [name for name in os.environ if name.startswith("UPSCALE_") and name not in variables]:
        del os.environ[name]
    os.environ.update(variables)
    with contextlib.suppress(OSError, io.UnsupportedOperation):
        os.ftruncate(2, 0)  # later error output then belongs to this call


def _sendable(error: Exception) -> Exception:
    """`error` if it can be pickled, else an InternalError with the same text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return InternalError(f"{type(error).__name__}: {error}")
    return error


def _is_session(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == _SESSIONS


def _no_handle(number: int) -> Handle:
    raise InternalError(f"the parent sent an object of its own, number {number}")


def _import(modules: Sequence[str]) -> None:
    for module in modules:
        try:
            if select.select([0], [], [], 0)[0]:
                return
            importlib.import_module(module)
        except (OSError, ImportError):  # no select on this system; or the call that needs the module will fail
            return


def _end_with(life: int) -> None:
    """End this process when the other end of the pipe `life` is closed, even if native code blocks all Python threads.

    The system then sends SIGIO, whose default action is to end the process. Only on Linux.
    """
    if sys.platform != "linux":
        return
    import fcntl

    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


def _watch_parent(parent: int) -> None:
    """End this process when the parent ends, even during a call."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os._exit(0)
