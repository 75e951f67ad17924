"""Releases: the same sources give the same archives, whenever they are built, and an archive of sources its wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import upscale_onnx
from tests.test_packaging import clone

pytest.importorskip("setuptools", "77", reason="builds need setuptools 77 or newer")

MOMENT = 1_700_000_000
BUILD = """
import sys
from setuptools import build_meta
_, folder, *kinds = sys.argv  # builds change it
for kind in kinds:
    getattr(build_meta, f"build_{kind}")(folder)
"""


def built(source: Path, folder: Path, *kinds: str) -> list[Path]:
    """The archives that a build of `source` makes in `folder`, of the kinds "sdist" and "wheel"."""
    folder.mkdir()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(MOMENT)}
    command = (sys.executable, "-c", BUILD, str(folder), *kinds)
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return sorted(folder.iterdir(), reverse=True)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheel and the archive of sources."""
    home = tmp_path_factory.mktemp("dist")
    return built(clone(home), home / "first", "sdist", "wheel")


@pytest.mark.slow
def test_the_same_sources_give_the_same_bytes(archives: list[Path], tmp_path: Path) -> None:
    source = clone(tmp_path)
    for path in source.rglob("*.py"):
        os.utime(path, (1e9, 1e9))
    again = built(source, tmp_path / "second", "sdist", "wheel")
    assert [path.name for path in again] == [path.name for path in archives]
    for path, before in zip(again, archives, strict=True):
        assert path.read_bytes() == before.read_bytes(), path.name


@pytest.mark.slow
def test_the_archive_of_sources_gives_the_wheel(archives: list[Path], tmp_path: Path) -> None:
    sources, wheel = archives
    with tarfile.open(sources) as archive:
        archive.extractall(tmp_path, filter="data")
    (root,) = tmp_path.iterdir()
    (again,) = built(root, tmp_path / "dist", "wheel")
    assert again.read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_the_version_is_that_of_the_package(archives: list[Path]) -> None:
    sources, wheel = archives
    assert sources.name == f"upscale_onnx-{upscale_onnx.__version__}.tar.gz"
    with zipfile.ZipFile(wheel) as held:
        metadata = held.read(f"upscale_onnx-{upscale_onnx.__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {upscale_onnx.__version__}\n" in metadata


@pytest.mark.slow
def test_what_an_archive_says_of_its_maker(archives: list[Path]) -> None:
    with tarfile.open(archives[0]) as archive:
        entries = archive.getmembers()
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname) for one in entries} == {(MOMENT, 0, 0, "", "")}
    assert not [one.name for one in entries if "/tests/" in one.name]
