"""Compiles whose large weights are in a store: the same bytes come out, in little memory, and nothing stays behind."""

from __future__ import annotations

import cProfile
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

import upscale_onnx
from docs.programs import scale
from upscale_onnx.cli.main import main
from upscale_onnx.errors import ModelError
from upscale_onnx.model import load_model, save_model, stored
from upscale_onnx.model.stored import is_stored, store_of, stored_values, weight_store, whole, whole_bytes
from upscale_onnx.model.stream import digest, file_bytes

OPTIONS = ("--no-race", "--align", "1", "--export", "gather", "--quiet")


def decoder(folder: Path, *size: str) -> Path:
    """The path of a decoder with external data that `scale.py` builds."""
    path = folder / "in.onnx"
    scale.build(path, scale.arguments(size))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return decoder(tmp_path, "--nodes", "14", "--width", "32", "--hidden", "64")


@pytest.fixture
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "ALWAYS_IN_MEMORY", 8192)
    monkeypatch.setattr(stored, "SMALLEST", 4096)


@pytest.mark.usefixtures("low_limits")
def test_a_store_holds_what_the_model_would(small: Path) -> None:
    expected = load_model(small)
    with weight_store() as store:
        model = load_model(small, store)
        assert all(map(is_stored, model.graph.initializer))
        assert store_of(model) is store
        for found, known in zip(model.graph.initializer, expected.graph.initializer, strict=True):
            values = stored_values(found)
            assert values is not None
            assert not values.flags.writeable
            assert values.tobytes() == known.raw_data
            assert whole(found) == known
            assert whole_bytes(found) == known.ByteSize()
        assert file_bytes(model) == file_bytes(expected)
        assert digest(model) == digest(expected)
    assert not store.path.parent.exists()
    assert not any(map(is_stored, model.graph.initializer))


def test_small_models_stay_in_memory(small: Path) -> None:
    with weight_store() as store:
        assert store_of(load_model(small, store)) is None


@pytest.mark.usefixtures("low_limits")
@pytest.mark.parametrize("over", [0, 2**31])
def test_a_model_is_saved_as_if_it_were_in_memory(small: Path, tmp_path: Path, over: int) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    save_model(load_model(small), tmp_path / "a" / "out.onnx", external_over=over)
    with weight_store() as store:
        save_model(load_model(small, store), tmp_path / "b" / "out.onnx", external_over=over)
    first, second = (sorted((tmp_path / name).iterdir()) for name in "ab")
    assert [file.name for file in first] == [file.name for file in second]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


@pytest.mark.usefixtures("low_limits")
def test_cut_arrays_are_kept_and_written_once(tmp_path: Path) -> None:
    with weight_store() as store:
        array = np.arange(4096, dtype=np.float32).reshape(64, 64).T
        kept = store.kept(array)
        size = store.path.stat().st_size
        assert (kept == array).all()
        proto = onnx.TensorProto()
        assert store.encode(kept, "w", proto)
        assert store.path.stat().st_size == size, "it refers to the place where it is"
        assert np.array_equal(stored_values(proto), array)  # type: ignore[arg-type]
        assert store.kept(array[:2]).base is array.base, "small ones stay"


@pytest.mark.usefixtures("low_limits")
def test_data_that_becomes_shorter_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(bytes(5000))
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2048])
    with (
        weight_store() as store,
        file.open("rb") as source,
        pytest.raises(ModelError, match="'w': its file has become"),
    ):
        store.copy(tensor, source.fileno(), 0, 8192)


@pytest.mark.usefixtures("low_limits")
def test_a_compile_writes_the_same_with_and_without_a_store(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UPSCALE_IN_PROCESS", "1")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    taken: list[str] = []
    copy = stored.WeightStore.copy
    monkeypatch.setattr(stored.WeightStore, "copy", lambda self, t, *rest: taken.append(t.name) or copy(self, t, *rest))
    assert main([str(small), str(tmp_path / "mapped.onnx"), *OPTIONS]) == 0
    assert len(taken) == 6
    monkeypatch.setattr(stored, "ALWAYS_IN_MEMORY", 2**30)
    assert main([str(small), str(tmp_path / "held.onnx"), *OPTIONS]) == 0
    assert len(taken) == 6
    assert (tmp_path / "mapped.onnx").read_bytes() == (tmp_path / "held.onnx").read_bytes()
    assert not list(temporary.iterdir())


# Prints the exit code and the peak of a command in KiB. A process begins with the peak of the one that started it, so a
# small one has to.
PEAK = """import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read as Linux counts them")
def test_a_compile_holds_little_more_than_one_layer(tmp_path: Path) -> None:
    """The bound is below the bytes of the weights, in each of both processes. Libraries of CUDA would count, too."""
    megabytes, libraries = 320, 200
    path = decoder(tmp_path, "--gigabytes", str(megabytes / 1024), "--width", "1024", "--hidden", "2048")
    words = [str(path), str(tmp_path / "out.onnx"), *OPTIONS, "--proof", "local", "--provider", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, sys.executable, "-m", "upscale_onnx", *words],
        env={name: value for name, value in os.environ.items() if name != "UPSCALE_IN_PROCESS"},
        capture_output=True,
        text=True,
    )
    code, peak = map(int, done.stdout.split()[-2:])
    assert code == 0, done.stderr
    assert peak < (libraries + 2 * 24) * 1024


@pytest.mark.slow
def test_work_grows_with_the_number_of_nodes_and_no_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSCALE_IN_PROCESS", "1")
    calls = []
    for nodes in (70, 280, 1120):  # the first imports what is needed
        model = onnx.load(decoder(tmp_path, "--nodes", str(nodes), "--width", "4"))
        profile = cProfile.Profile()
        profile.runcall(upscale_onnx.compile, model, race=False, align=1, export="gather", verify=False)
        calls.append(sum(entry.callcount for entry in profile.getstats()))
    assert calls[2] < 1.1 * 4 * calls[1]
