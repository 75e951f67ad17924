"""One worker process, from its start to its end, and the reason for its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import IO

from upscale_onnx.errors import InternalError, ModelError, UpscaleError
from upscale_onnx.worker.limits import held_bytes, memory_bytes, step_seconds
from upscale_onnx.worker.messages import Channel, Handle

# The first line of its input holds our sys.path, so that the worker finds the same modules, and the modules to import.
_MAIN = (
    "import json, sys; sys.path[:], modules, life = json.loads(open(0, 'rb', 0, closefd=False).readline()); "
    "from upscale_onnx.worker.server import main; main(modules, life)"
)
_WATCH_SECONDS = 0.1
_LAST_WORDS = 160
_PYTHON_FAILED = (1, 2)


class Process:
    """A worker process. `in_sync`: whether it waits for a message, and nobody waits for a message from it."""

    def __init__(self, modules: Sequence[str] = ()) -> None:
        self.in_sync = True
        self.released: list[int] = []
        self._words: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115
        # Nothing is written to this pipe. The system closes our end of it when this process ends, whatever the reason.
        life, held = os.pipe()
        self._life = os.fdopen(held, "wb", 0)
        self._popen = subprocess.Popen(
            [sys.executable, "-c", _MAIN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            start_new_session=True,  # Ctrl-C at the terminal must reach only this process
            pass_fds=() if sys.platform == "win32" else (life,),
        )
        os.close(life)
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        reader, writer = self._popen.stdout, self._popen.stdin
        self.channel = Channel(
            reader, writer, stays=lambda value: False, handle=lambda number: Handle(number, self.released.append)
        )
        self._limit_s = self._limit_bytes = self._deadline = float("inf")
        self._stopped_for = ""
        self._busy, self._gone = threading.Event(), False
        threading.Thread(target=self._watch, name="upscale_onnx-watch", daemon=True).start()
        writer.write(json.dumps([sys.path, list(modules), life]).encode() + b"\n")
        writer.flush()

    def work(self) -> None:
        """Note that the process has work to do: its limits are watched from now on."""
        self._limit_s, self._limit_bytes = step_seconds(), memory_bytes()
        self.beat()
        self._busy.set()

    def beat(self) -> None:
        """Note that the process has finished a step: the time of the next step counts from now."""
        self._deadline = time.monotonic() + self._limit_s

    def rest(self) -> None:
        """Note that the process waits for us: its limits are not watched."""
        self._busy.clear()

    def end(self) -> int:
        """Kill the process if it still runs, and return its exit status."""
        self._gone = True
        self._busy.set()
        self._popen.kill()
        status = self._popen.wait()
        self.channel.close()
        self._words.close()
        self._life.close()
        return status

    def abandon(self) -> None:
        """Forget the process in a fork of its parent: it belongs to the parent."""
        self._gone = True
        self._popen.returncode = 0

    def failure(self) -> UpscaleError:
        """Clean up a process that ended by itself, and return the error that says why it ended."""
        words = self._last_words()
        # After a crash, the pipes are closed a moment before the exit status is known.
        try:
            self._popen.wait(5.0)
        except subprocess.TimeoutExpired:
            self._stopped_for = self._stopped_for or "stopped answering"
        status = self.end()
        if self._stopped_for:
            return ModelError(f"running the model was stopped: it {self._stopped_for}")
        if status in _PYTHON_FAILED:
            return InternalError(f"the worker process failed: {words}")
        if status == -getattr(signal, "SIGKILL", 0):
            return ModelError("the process that ran the model was killed, most likely because memory ran out")
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return ModelError(f"onnx or onnxruntime crashed on the model ({name}{': ' if words else ''}{words})")

    def _last_words(self) -> str:
        """The end of the last line that the process wrote to its standard error."""
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").splitlines()
        last = next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")
        return last if len(last) <= _LAST_WORDS else f"...{last[-_LAST_WORDS:]}"

    def _watch(self) -> None:
        while not self._gone:
            self._busy.wait()
            time.sleep(_WATCH_SECONDS)
            if self._gone or not self._busy.is_set():
                continue
            if time.monotonic() > self._deadline:
                self._stopped_for = f"took longer than {self._limit_s:g} s for one step"
            elif held_bytes(self._popen.pid) > self._limit_bytes:
                self._stopped_for = f"needs more than {self._limit_bytes / 2**30:.1f} GB of memory"
            if self._stopped_for:
                self._popen.kill()
                return
