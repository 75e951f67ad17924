"""The table of results, which several processes may add rows to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.paper.test_rows import FULL
from upscale_onnx.paper.book import Book


def test_no_row_is_lost_where_several_write(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    rows = [replace(FULL, seed=seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda row: Book(tmp_path / "results.csv").add(row), rows))
    found = Book(tmp_path / "results.csv").rows()
    assert sorted(found, key=lambda row: row.seed) == rows
