"""A short run of the measurement."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.interruptions.moments import interrupt
from tests.interruptions.subject import Subject, compiling, saving

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(
    ("subject", "moments"),
    [(saving(256), 2), pytest.param(compiling(), 2, marks=pytest.mark.slow)],
    ids=["saving", "compiling"],
)
def test_the_old_or_the_new_file_stands_there_whole(
    tmp_path: Path, subject: Subject, moments: int, number: signal.Signals
) -> None:
    found = interrupt(subject, tmp_path, number, moments, seed=1)
    assert not found.faults
    assert not found.stray
    assert sum(found.codes.values()) == moments


@pytest.mark.parametrize("bytes_left", [0, 5000])
def test_a_full_disk(tmp_path: Path, bytes_left: int) -> None:
    from tests.interruptions.disks import full  # needs POSIX limits to be imported

    assert full(compiling(), tmp_path, bytes_left) == ""


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    from tests.interruptions.disks import vanishing

    (tmp_path / "gone").mkdir()
    assert vanishing(compiling(), tmp_path / "gone", 0, 0.0) == ""
