"""Folders that are full, read-only, or gone."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.interruptions.subject import Subject

_LONGEST_S = 300
_LIMITED = (
    "import os, resource, sys; bytes_left = int(sys.argv[1]); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, bytes_left)); os.execv(sys.argv[2], sys.argv[2:])"
)


def full(subject: Subject, folder: Path, bytes_left: int) -> str:
    """What is wrong after a run that may write files of at most `bytes_left` bytes; nothing if all is well."""
    limited = (sys.executable, "-c", _LIMITED, str(bytes_left), *subject.command)
    return _refused(replace(subject, command=limited), folder, lambda: None)


def on_a_small_disk(subject: Subject, folder: Path, kilobytes: int) -> str:
    """The same on a disk of that size, which takes an administrator to make."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)]
    subprocess.run(mount, check=True)
    try:
        return _refused(subject, folder, lambda: None)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def read_only(subject: Subject, folder: Path) -> str:
    """The same in a folder that nobody may write to; for an administrator it takes a disk of its own."""
    if os.geteuid() != 0:
        try:
            return _refused(subject, folder, lambda: folder.chmod(0o555))
        finally:
            folder.chmod(0o755)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], check=True)
    try:
        remount = ["mount", "-o", "remount,ro", str(folder)]
        return _refused(subject, folder, lambda: subprocess.run(remount, check=True))
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def vanishing(subject: Subject, folder: Path, seed: int, seconds: float) -> str:
    """What is wrong after a run whose folder is removed at a random moment."""
    subject.prepare(folder)
    with subject.start(folder) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(random.Random(seed).uniform(0, seconds))
        shutil.rmtree(folder)
        out, err = process.communicate("\n", timeout=_LONGEST_S)
    well = process.returncode in (0, 2) and len(err.splitlines()) <= 1 and out == "" and not folder.exists()
    return "" if well else f"exit {process.returncode}, {err[-300:]!r}"


def _refused(subject: Subject, folder: Path, before: Callable[[], object]) -> str:
    subject.prepare(folder)
    before()
    old = {path.name: path.read_bytes() for path in folder.iterdir()}
    with subject.start(folder) as process:
        out, err = process.communicate("\n", timeout=_LONGEST_S)
    now = {path.name: path.read_bytes() for path in folder.iterdir()}
    if process.returncode == 2 and now == old and out == "" and len(err.splitlines()) == 1:
        return ""
    return f"exit {process.returncode}, {sorted(now)}, {err[-300:]!r}"
