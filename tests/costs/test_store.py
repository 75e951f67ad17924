"""Tables on disk: whole, for their own machine only, and never in the way."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from upscale_onnx.costs.store import cache_folder, load_tables, save_tables, tables_path
from upscale_onnx.costs.tables import Tables
from upscale_onnx.costs.targets import target
from upscale_onnx.errors import ArgumentError
from upscale_onnx.model.kernels import Kernel
from upscale_onnx.model.workloads import Workload

MACHINE: dict[str, str | int] = {"device": "Some CPU", "provider": "cpu", "onnxruntime": "1.2.3", "threads": 1}
CPU = target("cpu", 16)
WORKLOAD = Workload("Conv", "blocked", 1, (14, 14), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UPSCALE_ONNX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tables() -> Tables:
    timed = [
        (Kernel("", "Conv", "", 0, WORKLOAD, 64, 32, "Sum"), 0.25),
        (Kernel("", "Gemm", "", 0, Workload("Gemm", "plain", 1), 512, 1000), 0.1),
        (Kernel("", "Gather", "Gather/14x14", 4096), 0.01),
    ]
    return Tables(CPU).with_times(timed, 0.001)


def test_what_is_saved_is_loaded(tables: Tables) -> None:
    save_tables(tables, MACHINE)
    assert load_tables(CPU, MACHINE) == tables


def test_nothing_measured_is_empty_tables() -> None:
    assert load_tables(CPU, MACHINE) == Tables(CPU)


@pytest.mark.parametrize(
    "other", [{"threads": 2}, {"device": "Other CPU"}, {"onnxruntime": "1.2.4"}, {"provider": "cuda"}]
)
def test_every_machine_has_its_own_file(tables: Tables, other: dict[str, str | int]) -> None:
    save_tables(tables, MACHINE)
    assert tables_path({**MACHINE, **other}) != tables_path(MACHINE)
    assert load_tables(CPU, {**MACHINE, **other}) == Tables(CPU)


def test_other_block_is_measured_anew(tables: Tables) -> None:
    save_tables(tables, MACHINE)
    narrow = target("cpu", 8)
    assert load_tables(narrow, MACHINE) == Tables(narrow)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: "",
        lambda data: "\x00\xff",
        lambda data: "[" * 100_000,
        lambda data: json.dumps([1]),
        lambda data: json.dumps({**data, "format": 99}),
        lambda data: json.dumps({**data, "machine": {}}),
        lambda data: json.dumps({**data, "contractions": {"Conv/blocked": []}}),
        lambda data: json.dumps({**data, "contractions": {WORKLOAD.key: [[16, 16, "", -1.0]]}}),
        lambda data: json.dumps({**data, "contractions": {WORKLOAD.key: [[0, 16, "", 1.0]]}}),
        lambda data: json.dumps({**data, "moves": {"Gather/": [[1, float("nan")]]}}),
        lambda data: json.dumps({**data, "moves": 7}),
        lambda data: json.dumps({**data, "node_ms": float("inf")}),
    ],
)
def test_file_that_cannot_be_used_is_left_out_with_a_warning(
    tables: Tables, spoil: Callable[[dict[str, Any]], str]
) -> None:
    path = save_tables(tables, MACHINE)
    path.write_text(spoil(json.loads(path.read_text())))
    with pytest.warns(UserWarning, match="cannot be used and are left out"):
        assert load_tables(CPU, MACHINE) == Tables(CPU)
    save_tables(tables, MACHINE)
    assert load_tables(CPU, MACHINE) == tables


def test_failed_write_leaves_the_old_file(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_tables(tables, MACHINE)

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_tables(replace(tables, node_ms=5.0), MACHINE)
    monkeypatch.undo()
    monkeypatch.setenv("UPSCALE_ONNX_CACHE", str(path.parent.parent))
    assert load_tables(CPU, MACHINE) == tables
    assert list(path.parent.iterdir()) == [path]


def test_folder_that_cannot_be_written_to_is_one_clear_line(cache: Path, tables: Tables) -> None:
    cache.write_text("a file stands here")
    with pytest.raises(ArgumentError, match=r"measured times cannot be kept in .*set UPSCALE_ONNX_CACHE"):
        save_tables(tables, MACHINE)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the folder that XDG names is for other systems")
def test_cache_is_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("UPSCALE_ONNX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "upscale_onnx"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "upscale_onnx"
