"""New files: whole or not there, together, and nothing left behind by whoever was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import NewFiles, data_file, new_files, remove_leftovers, write_whole

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX locks and signals")
DIGEST = "0123456789abcdef"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_appear_together_when_all_are_written(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"old")
    with new_files() as files:
        assert files.is_empty
        files.write(tmp_path / "a", [b"new ", b"a"])
        files.write(tmp_path / "b", [b"new b"])
        assert not files.is_empty
        assert not (tmp_path / "a").exists()
        assert (tmp_path / "b").read_bytes() == b"old"
    assert (tmp_path / "a").read_bytes() == b"new a"
    assert (tmp_path / "b").read_bytes() == b"new b"
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_between_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(error), new_files() as files:  # noqa: PT012
        files.write(tmp_path / "a", [b"new"])
        files.write(tmp_path / "b", [b"new"])
        raise error
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_where_the_last_cannot_be_named_new_ones_before_it_are_gone(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(ArgumentError, match="cannot be written"), new_files() as files:  # noqa: PT012
        files.write(tmp_path / "report", [b"new"])
        files.write(tmp_path / "sub" / "model", [b"new"])
        for path in (tmp_path / "sub").iterdir():
            path.unlink()
        (tmp_path / "sub").rmdir()
    assert names(tmp_path) == []


def test_a_folder_that_vanished_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="does not exist"):
        write_whole(b"", tmp_path / "none" / "a")


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    (tmp_path / "a").touch(mode=0o600)
    (tmp_path / "link").symlink_to("a")
    write_whole(b"new", tmp_path / "link")
    write_whole(b"new", tmp_path / "b")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


@pytest.mark.parametrize("name", ["a" * 250, "é" * 120, "模" * 80], ids=["ascii", "two bytes", "three bytes"])
def test_names_as_long_as_the_system_takes(tmp_path: Path, name: str) -> None:
    write_whole(b"new", tmp_path / name)
    assert names(tmp_path) == [name]


@contextlib.contextmanager
def writer(target: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is about to publish a model and its data at `target`; it waits to be killed."""
    program = (
        "import sys; from upscale_onnx.files.publish import *; files = NewFiles()\n"
        "target = Path(sys.argv[1]); data = data_file(target, sys.argv[2])\n"
        "data.write_bytes(b'data'); files.open(target, digest=sys.argv[2])\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(target), DIGEST]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@posix
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    with writer(target) as process:
        (draft,) = tmp_path.glob(".out.onnx.*.tmp")
        write_whole(b"mine", target)
        assert draft.exists()
        assert data_file(target, DIGEST).exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        write_whole(b"another", tmp_path / "other.onnx")
        assert draft.exists(), "it is beside another file's name"
        write_whole(b"mine again", target)
    assert names(tmp_path) == ["other.onnx", "out.onnx"]
    assert target.read_bytes() == b"mine again"


@posix
def test_data_that_was_written_anew_stays(tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    with writer(target) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        (draft,) = tmp_path.glob(".out.onnx.*.tmp")
        late = draft.stat().st_mtime_ns + 10**9
        os.utime(data_file(target, DIGEST), ns=(late, late))
        remove_leftovers(target)
    assert names(tmp_path) == [data_file(target, DIGEST).name]


@posix
def test_only_files_that_are_named_as_ours_are_touched(tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    kept = [
        ".out.onnx.tmp",
        f".out.onnx.{DIGEST}",
        f".out.onnx.{DIGEST}.tmp.old",
        f".out.onnx.{DIGEST.upper()}.tmp",
        f"out.onnx.{DIGEST}.tmp",
        f".out_onnx.{DIGEST}.tmp",
        f"out.onnx.{DIGEST}.data",
    ]
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / "secret").touch()
    (tmp_path / f".out.onnx.{DIGEST}.tmp").symlink_to("secret")
    (tmp_path / f".out.onnx.{DIGEST[::-1]}.tmp").mkdir()
    before = names(tmp_path)
    remove_leftovers(target)
    assert names(tmp_path) == before


@posix
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    target = tmp_path / "a"
    target.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(ArgumentError, match="a: cannot be written: File too large"):
            write_whole(bytes(10_000), target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_draft_that_another_removed_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from upscale_onnx.files import publish

    locked = iter([False, True])
    monkeypatch.setattr(publish, "lock", lambda file, path: next(locked))
    files = NewFiles()
    files.write(tmp_path / "a", [b"new"])
    files.publish()
    assert names(tmp_path) == ["a"]
