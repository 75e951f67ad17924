"""Signals at random moments."""

from __future__ import annotations

import functools
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.interruptions.subject import Subject, is_report

_LONGEST_S = 300
_EXPECTED = {signal.SIGKILL: (-signal.SIGKILL,), signal.SIGTERM: (143, -signal.SIGTERM)}


@dataclass
class Outcome:
    """What was seen: exit codes, how often the old and the new file stood there afterwards, and what was left over.

    left: times that something was left beside the files, and stray: what is left after the next run.
    """

    codes: Counter[int] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    left: int = 0
    stray: tuple[str, ...] = ()
    faults: list[str] = field(default_factory=list)


def interrupt(subject: Subject, folder: Path, number: signal.Signals, moments: int, seed: int) -> Outcome:
    """Send `number` at `moments` random moments of as many runs, each in a folder of its own made in `folder`, then let
    each be written by a run that nobody interrupts."""
    outcome, rng = Outcome(), random.Random(seed)
    known, allowed, seconds = _undisturbed(subject)
    for moment in range(moments):
        place = folder / str(moment)
        place.mkdir()
        subject.prepare(place)
        _one(subject, place, number, rng.uniform(0, seconds), known, outcome)
        outcome.left += any(path.name not in allowed for path in place.iterdir())
        if moment % 10 == 0 or any(path.name not in allowed for path in place.iterdir()):
            _run(subject, place)
        outcome.stray += tuple(path.name for path in place.iterdir() if path.name not in allowed)
        shutil.rmtree(place)
    return outcome


@functools.cache
def _undisturbed(subject: Subject) -> tuple[dict[str, object], set[str], float]:
    """The old and the new file of a run that nobody interrupts, all names of files, and how long it takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subject.prepare(folder)
        old = subject.read(folder / "out.onnx")
        seconds = _run(subject, folder)
        return {"old": old, "new": subject.read(folder / "out.onnx")}, {p.name for p in folder.iterdir()}, seconds


def _run(subject: Subject, folder: Path) -> float:
    start = time.perf_counter()
    with subject.start(folder) as process:
        start = time.perf_counter() if subject.ready else start
        _, err = process.communicate("\n", timeout=_LONGEST_S)
    assert process.returncode == 0, err
    return time.perf_counter() - start


def _one(
    subject: Subject, folder: Path, number: signal.Signals, after: float, known: dict[str, object], outcome: Outcome
) -> None:
    with subject.start(folder) as process:
        if subject.ready:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        out, err = process.communicate(timeout=_LONGEST_S)
    outcome.codes[process.returncode] += 1
    found = next((name for name, what in known.items() if subject.read(folder / "out.onnx") == what), "neither")
    outcome.found[found] += 1
    right = found != "neither" and is_report(folder / "r.json") and out == ""
    if process.returncode == 0:
        right = right and found == "new"
    else:
        right = right and process.returncode in _EXPECTED[number] and len(err.splitlines()) <= 1
    if number == signal.SIGTERM and not subject.ready and process.returncode != 0:
        right = right and found == "old"
    if not right:
        outcome.faults.append(f"after {after:.2f} s: exit {process.returncode}, {found} file, {err[-300:]!r}")
