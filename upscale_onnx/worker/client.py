"""The parent's side of the worker: it is started when it is needed, and again after a crash."""

from __future__ import annotations

import atexit
import os
import threading
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from upscale_onnx.errors import ModelError
from upscale_onnx.worker.messages import Callback, CallerError, ObjectTable
from upscale_onnx.worker.process import Process

_VARIABLES = "UPSCALE_"


class RemoteTraceback(Exception):
    """The traceback of an error in the worker, as the cause of the error that the parent raises."""


class Worker:
    """The one worker of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: Process | None = None
        self._functions = ObjectTable()
        self._raised = ObjectTable()
        atexit.register(self.stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def start(self, modules: Sequence[str] = ()) -> Process:
        """The process, which is started unless it runs. This does not wait until it has imported `modules`."""
        with self._lock:
            if self._process is None:
                self._process = Process(modules)
            return self._process

    def stop(self) -> None:
        """End the process, if it runs."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                process.end()

    def call(self, module: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function in the worker and return its result.

        Raises:
            ModelError: the worker crashed, ran out of memory or took too long.
            Exception: any exception that the function raises.
        """
        with self._lock:
            process = self.start()
            numbers: list[int] = []
            shown = tuple(self._shown(value, numbers) for value in args)
            named = {key: self._shown(value, numbers) for key, value in kwargs.items()}
            released, process.released[:] = tuple(process.released), ()
            # If this call comes from one of our functions that the worker called, the worker waits for that function.
            outer, process.in_sync = process.in_sync, True
            try:
                return self._answer(process, ("call", module, name, shown, named, released, *_surroundings()))
            finally:
                for number in numbers:
                    self._functions.discard(number)
                if process.in_sync:
                    process.in_sync = outer
                elif self._process is process:  # it died, or still works for a call that was interrupted
                    self.stop()

    def _shown(self, value: Any, numbers: list[int]) -> Any:
        if not isinstance(value, types.FunctionType | types.MethodType | types.BuiltinMethodType):
            return value
        numbers.append(self._functions.add(value))
        return Callback(numbers[-1])

    def _answer(self, process: Process, message: tuple[Any, ...]) -> Any:
        """Send a message, and run the functions that the worker calls here until it answers. Returns the answer."""
        while True:
            self._send(process, message)
            kind, *found = self._receive(process)
            if kind == "result":
                return found[0]
            if kind == "error":
                raise self._meant(*found)
            message = self._called(*found)

    def _send(self, process: Process, message: tuple[Any, ...]) -> None:
        process.work()
        try:
            process.channel.send(message)
        except BrokenPipeError:
            process.in_sync = False
            raise process.failure() from None
        except OSError as error:
            raise ModelError(f"the model cannot be handed to the process that runs it: {error.strerror}") from error
        process.in_sync = False

    def _receive(self, process: Process) -> Any:
        try:
            while (message := process.channel.receive())[0] == "beat":
                process.beat()
        except (EOFError, OSError):
            raise process.failure() from None
        process.rest()
        process.in_sync = message[0] != "callback"
        process.channel.remove_files()
        return message

    def _called(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Call one of our functions for the worker, and return the reply."""
        try:
            return "reply", True, self._functions[number](*args, **kwargs)
        except Exception as error:
            return "reply", False, self._raised.add(error)

    def _meant(self, error: Exception, trace: str) -> Exception:
        if isinstance(error, CallerError):
            raised: Exception = self._raised.take(error.number)
            return raised
        if isinstance(error, MemoryError):
            return ModelError("there is not enough memory for this model")
        error.__cause__ = RemoteTraceback(f"\n{trace}")
        return error

    def _forget(self) -> None:
        """Forget the process after a fork, because it belongs to the parent."""
        self._lock = threading.RLock()
        if self._process is not None:
            self._process.abandon()
            self._process = None


def _surroundings() -> tuple[str, dict[str, str]]:
    """The current folder and the UPSCALE_* variables, which a function may read besides its arguments."""
    try:
        folder = str(Path.cwd())
    except OSError:
        folder = ""
    return folder, {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}


WORKER = Worker()


def start(modules: Sequence[str] = ()) -> None:
    """Start the worker, so that it imports `modules` while this process continues."""
    WORKER.start(modules)
