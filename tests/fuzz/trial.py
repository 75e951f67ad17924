"""One mutant through the compiler, and what came of it."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import upscale_onnx
from upscale_onnx.errors import UpscaleError
from upscale_onnx.model import save_model

# What a trial may end in without being a find.
GOOD = ("same", "unjudged", "refused", "unequal")
_SECONDS = 60
_MOST_BYTES = 2 * 2**30
_NOT_OURS = (".ses",)  # onnxruntime's own
_EXPORTS = ("keep", "gather", "planned", "upscale")


@dataclass(frozen=True)
class Found:
    """How a trial ended: one of GOOD, or "bug", "wrong", "hang", "memory", "files", "abort"."""

    kind: str
    detail: str = ""


class Hang(BaseException):
    """The time of one mutant is over."""


class Trials:
    """Mutants through the API, in one process. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._judge = _Judge()

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *_: object) -> None:
        self._judge.close()

    def run(self, number: int, data: bytes) -> Found:
        """Compile mutant `number`, which is `data`."""
        before, after = self._folder / "in.onnx", self._folder / "out.onnx"
        before.write_bytes(data)
        try:
            with _alarm(_SECONDS):
                found = self._compiled(before, after, random.Random(number))
        except Hang:
            return Found("hang", f"longer than {_SECONDS} s")
        finally:
            after.unlink(missing_ok=True)
        left = sorted({path.name for path in self._folder.iterdir()} - {before.name, *_NOT_OURS})
        if left:
            for name in left:
                (self._folder / name).unlink()
            return Found("files", ", ".join(left))
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Found("memory", f"{held / 2**30:.1f} GB") if held > _MOST_BYTES else found

    def _compiled(self, before: Path, after: Path, rng: random.Random) -> Found:
        amount = rng.choice((None,) * 9 + (0.3,))
        try:
            export, align = rng.choice(_EXPORTS), rng.choice((1, 16))
            result = upscale_onnx.compile(str(before), export=export, align=align, race=False, amount=amount)
        except UpscaleError as error:
            if "\n" in str(error):
                return Found("bug", f"more than one line: {error!r}")
            kind = {1: "bug", 2: "refused", 3: "unequal"}.get(error.exit_code, "refused")
            return Found(kind, str(error) if kind != "bug" else _where(error.__cause__ or error))
        except Exception as error:
            return Found("bug", _where(error))
        if amount is not None:
            return Found("unjudged", "pruned")
        save_model(result.model, after)
        verdict = self._judge.ask(before, after)
        kind, _, detail = verdict.partition(": ")
        return Found("wrong" if kind == "differs" else kind, detail)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return f"{error!r} at {' < '.join(f'{Path(f.filename).name}:{f.lineno}' for f in reversed(frames))}"


class _Judge:
    """The judge's process; one that crashes says nothing, and the next is asked."""

    def __init__(self) -> None:
        self._process = self._start()

    def ask(self, before: Path, after: Path) -> str:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{before}\t{after}\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return line.strip()
        self.close()
        self._process = self._start()
        return "unjudged: onnxruntime crashed"

    def close(self) -> None:
        process = self._process
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.fuzz.judge"]
        pipe, root = subprocess.PIPE, Path(__file__).parents[2]
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, cwd=root)


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def by_command_line(folder: Path, data: bytes) -> Found:
    """One mutant through `python -m upscale_onnx`."""
    before, after = folder / "in.onnx", folder / "out.onnx"
    before.write_bytes(data)
    after.unlink(missing_ok=True)
    command = [sys.executable, "-m", "upscale_onnx", str(before), str(after), "--no-race", "-q"]
    variables = {**os.environ, "TMPDIR": str(folder)}
    try:
        done = subprocess.run(command, capture_output=True, timeout=4 * _SECONDS, env=variables)
    except subprocess.TimeoutExpired:
        return Found("hang", f"longer than {4 * _SECONDS} s")
    said = done.stderr.decode(errors="replace")
    left = {path.name for path in folder.iterdir()} - {before.name, *_NOT_OURS}
    if done.returncode < 0 or done.returncode not in (0, 1, 2, 3, 4):
        return Found("abort", f"exit code {done.returncode}: {said[-300:]}")
    if done.returncode == 1 or "Traceback" in said or len(said.splitlines()) > 1:
        return Found("bug", said[-300:])
    if left != ({after.name} if done.returncode == 0 else set()):
        return Found("files", ", ".join(sorted(left)))
    return Found(("same", "", "refused", "unequal", "refused")[done.returncode], said.strip())
