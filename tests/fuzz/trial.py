"""One mutant through the compiler, and what came of it."""

from __future__ import annotations

import contextlib
import io
import os
import random
import resource
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import upscale_onnx
from upscale_onnx.cli.main import main
from upscale_onnx.errors import UpscaleError
from upscale_onnx.model import save_model

# What a trial may end in without being a find.
GOOD = ("same", "unjudged", "refused", "unequal")
_SECONDS = 60
_JUDGE_SECONDS = 30
_MOST_BYTES = 2 * 2**30
_NOT_OURS = (".ses",)  # onnxruntime's own
_MOST_CODE = 5
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
            # A session may take longer than anybody would wait, and its answer is none to the next question.
            ready = select.select([process.stdout], [], [], _JUDGE_SECONDS)[0]
            line = process.stdout.readline() if ready else ""
        except BrokenPipeError:
            line = ""
        if line:
            return line.strip()
        self.close()
        self._process = self._start()
        return "unjudged: onnxruntime crashed, or takes too long"

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


@contextlib.contextmanager
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


def by_command_line(folder: Path, data: bytes, *, alone: bool = False) -> Found:
    """One mutant through the command line: a process of its own where it is `alone`, else this one's `main`."""
    before, after = folder / "in.onnx", folder / "out.onnx"
    before.write_bytes(data)
    after.unlink(missing_ok=True)
    words = [str(before), str(after), "--no-race", "-q"]
    try:
        with _alarm(_SECONDS):
            code, said = _process(words, folder) if alone else _main(words)
    except Hang:
        return Found("hang", f"longer than {_SECONDS} s")
    left = {path.name for path in folder.iterdir()} - {before.name, *_NOT_OURS}
    if code < 0 or code > _MOST_CODE:
        return Found("abort", f"exit code {code}: {said[-300:]}")
    if code == 1 or "Traceback" in said or len(said.splitlines()) > 1:
        return Found("bug", said[-300:])
    if left != ({after.name} if code == 0 else set()):
        return Found("files", ", ".join(sorted(left)))
    kind = {0: "same", 3: "unequal"}.get(code, "refused")
    return Found(kind, said.strip())


def _process(words: list[str], folder: Path) -> tuple[int, str]:
    variables = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "upscale_onnx", *words]
    done = subprocess.run(command, capture_output=True, env=variables, cwd=Path(__file__).parents[2])
    return done.returncode, done.stderr.decode(errors="replace")


def _main(words: list[str]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    return code, said.getvalue()
