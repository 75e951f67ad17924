"""The output of the commands: rich tables and a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

from upscale_onnx.cli.interrupts import held_back
from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import NewFiles
from upscale_onnx.report.plain import plain_text, printable
from upscale_onnx.report.rows import Table

if TYPE_CHECKING:
    from rich.console import RenderableType

STANDARD_OUTPUT = "-"


class Output:
    """Prints results to standard output and progress to standard error; `quiet` silences both.

    progress: "auto" (a bar on a terminal), "json" (a line per stage, also if quiet) or "none".

    delivered: the exit code of the command once its files are written; later errors do not change it. None before.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, progress: str = "auto") -> None:
        self.quiet = quiet
        self.verbose = verbose
        self._progress = progress
        self.delivered: int | None = None

    @contextlib.contextmanager
    def publishing(self, code: int = 0) -> Iterator[NewFiles]:
        """A context for files to write. At its end, all of them appear or none; `code` is then the exit code.

        Raises: ArgumentError if a file cannot be written.
        """
        files = NewFiles()
        try:
            yield files
            with held_back():
                is_empty = files.is_empty
                files.publish()
                self.delivered = None if is_empty else code
        finally:
            files.discard()

    def json(self, result: object, path: str | None, code: int = 0) -> None:
        """Write `result` as JSON to `path`, unless it is None; `code` is then the exit code.

        Raises: ArgumentError if the file cannot be written.
        """
        with self.publishing(code) as files:
            self.write_json(result, path, files)

    def write_json(self, result: object, path: str | None, files: NewFiles) -> None:
        """Write `result` as JSON to `path` together with `files`; to standard output, and nothing else, if it is "-".

        Raises: ArgumentError if the file cannot be written.
        """
        from upscale_onnx.report.json import dump_json, write_json

        if path == STANDARD_OUTPUT:
            self.text(dump_json(result))
            self.quiet = True
        elif path is not None:
            write_json(result, path, files)

    def tables(self, tables: Iterable[Table]) -> None:
        """Print `tables`."""
        if self.quiet:
            return
        if not self.is_terminal:
            self.text(plain_text(tables))
            return
        from upscale_onnx.report.tables import rich_tables

        self.view(lambda width: rich_tables(tables, width))

    @property
    def is_terminal(self) -> bool:
        """Whether results are shown to someone at a terminal, rather than written to a file or a pipe."""
        return not self.quiet and _is_terminal(sys.stdout)

    def view(self, drawn: Callable[[int], RenderableType]) -> None:
        """Print what `drawn` makes for a terminal of so many columns."""
        from rich.console import Console

        console = Console(file=sys.stdout)
        with console.capture() as captured:  # if rich printed directly, it would exit on a closed pipe
            console.print(drawn(console.width))
        self.text(captured.get())

    def written(self, path: str) -> None:
        """Say that the file at `path` was written."""
        if not self.quiet:
            self.text(f"written  {printable(path)}\n")

    def text(self, text: str) -> None:
        """Print `text` as it is, even if quiet. It is no error if the reader has closed the pipe, as in `| head`.

        Raises: ArgumentError if standard output cannot be written to, and no file holds the result.
        """
        if sys.stdout is None:  # closed by the process that started this one
            return
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            _discard(sys.stdout)
        except OSError as error:
            _discard(sys.stdout)
            line = f"standard output cannot be written to: {error.strerror or error}"
            if self.delivered is None:
                raise ArgumentError(line) from error
            complain(f"upscale_onnx: warning: {line}; the files are written")

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[str, float], None]]:
        """A context with the function that shows progress. It takes a stage and the share, 0 to 1, of the work done."""
        if self._progress == "json":
            yield _json_lines()
            return
        if self._progress == "none" or self.quiet or not _is_terminal(sys.stderr):
            yield _stage_lines() if self.verbose and not self.quiet else _nothing
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda stage, done: bar.update(task, description=stage, completed=done)


def complain(message: str) -> None:
    """Print `message` as one line on standard error."""
    with contextlib.suppress(OSError):  # nobody reads standard error
        print(printable(" ".join(message.split())), file=sys.stderr)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _nothing(stage: str, done: float) -> None:
    del stage, done


def _stage_lines() -> Callable[[str, float], None]:
    """A function that prints the name of each stage when the stage starts."""
    last = ""

    def show(stage: str, done: float) -> None:
        nonlocal last
        del done
        if stage != last:
            last = stage
            complain(stage)

    return show


def _json_lines() -> Callable[[str, float], None]:
    """A function that prints a line of JSON when a stage starts: its name, the share of work done, the seconds."""
    started, last = time.monotonic(), ""

    def show(stage: str, done: float) -> None:
        nonlocal last
        if stage != last:
            last = stage
            line = {"stage": stage, "done": round(done, 4), "seconds": round(time.monotonic() - started, 3)}
            with contextlib.suppress(OSError):
                print(json.dumps(line), file=sys.stderr, flush=True)

    return show


def _discard(stream: TextIO) -> None:
    """Discard the buffer of `stream`. Otherwise Python would try to write it again at exit and print an error."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor has nothing to flush
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, stream.fileno())
        os.close(sink)
