"""Reading files of unknown origin: bounded, and one line for whatever is wrong."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files import reading
from upscale_onnx.files.reading import TooLarge, read_bounded, read_json


def test_a_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(TooLarge):
        read_bounded(path, 4)
    with path.open("wb") as file:
        file.truncate(2**42)
    with pytest.raises(TooLarge):
        read_bounded(path, 2**31)


@pytest.mark.skipif(os.name != "posix", reason="needs pipes with names")
@pytest.mark.parametrize("length", [5, 6])
def test_a_pipe_is_read_up_to_the_bound(tmp_path: Path, length: int) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    sender = threading.Thread(target=lambda: path.write_bytes(bytes(length)))
    sender.start()
    if length == 5:
        assert read_bounded(path, 5) == bytes(5)
    else:
        with pytest.raises(TooLarge):
            read_bounded(path, 5)
    sender.join()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a": 1, "a": 2}', "'a' occurs twice"),
        (b"1" * 5000, "is not JSON"),
    ],
)
def test_what_is_no_json_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match=message) as caught:
        read_json(path, "profile")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: the profile")


def test_absent_and_large_files_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="cannot read the profile: No such file"):
        read_json(tmp_path / "none.json", "profile")
    (tmp_path / "a.json").write_text("[1, 2, 3]")
    assert read_json(tmp_path / "a.json", "profile") == [1, 2, 3]
    monkeypatch.setattr(reading, "_MOST_JSON_BYTES", 4)
    with pytest.raises(ArgumentError, match="is larger than"):
        read_json(tmp_path / "a.json", "profile")


def test_many_keys_are_no_work(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{" + ", ".join(f'"{number}": 0' for number in range(200_000)) + "}")
    assert len(read_json(path, "profile")) == 200_000
