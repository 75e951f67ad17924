"""Writers of one folder are kept apart."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.locks import alone_in

pytest.importorskip("fcntl")


def test_a_second_writer_is_refused_while_the_first_is_there(tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(ArgumentError, match="another process writes there"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        assert not list(tmp_path.iterdir())


def test_a_writer_that_waits_comes_after_the_first(tmp_path: Path) -> None:
    came: list[str] = []

    def second() -> None:
        with alone_in(tmp_path, waits=True):
            came.append("second")

    thread = threading.Thread(target=second)
    with alone_in(tmp_path):
        thread.start()
        thread.join(0.2)
        came.append("first")
    thread.join(10)
    assert came == ["first", "second"]
