"""Settings shared by all tests."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from upscale_onnx.worker.dispatch import IN_PROCESS_VARIABLE

ROOT = Path(__file__).resolve().parents[1]

# What the tests start in other folders is to see this tree too, whichever copy of the package is installed, or none.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))

# Layers of the tests are narrow. Where kernels work on blocks of 16 channels, as with AVX-512, less of them leaves, so
# the tests are for blocks of 8 everywhere; tests/documented/test_blocks.py is for both.
os.environ["UPSCALE_CPU_BLOCK"] = "8"

# Machines differ and share their cores: a slow example is no failure, and the same examples run everywhere.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("steady")


def pytest_collection_finish() -> None:
    """What collection has made stays until the end: the garbage collector need not go through it again and again."""
    gc.collect()
    gc.freeze()


# Tests of arithmetic: onnxruntime runs in their own process, which is quicker. Users have it in another, and so have
# the tests of commands, files and faults.
IN_PROCESS = (
    "channels",
    "documented",
    "masks",
    "passes",
    "plan",
    "properties",
    "reinforce",
    "repair",
    "searching",
    "torch_backend",
    "traps",
)


@pytest.fixture(autouse=True, scope="module")
def _runtime_in_process(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.path.relative_to(ROOT / "tests").parts[0] in IN_PROCESS:
            patch.setenv(IN_PROCESS_VARIABLE, "1")
        yield


@pytest.fixture(autouse=True, scope="session")
def kept_contracts() -> Iterator[None]:
    """Every pass that a test runs is held to what it requires and ensures."""
    from upscale_onnx.passes.pipeline import checking

    with checking():
        yield


@pytest.fixture(scope="session")
def quick_exports() -> Iterator[None]:
    """torch looks its operators and their translations up once, not for each export: half of a small one."""
    registration = pytest.importorskip("torch.onnx._internal.exporter._registration", exc_type=ImportError)
    operators = pytest.importorskip("torch._export.utils", exc_type=ImportError)
    registry, name = registration.ONNXRegistry, "_materialize_cpp_cia_ops"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "from_torchlib", staticmethod(functools.cache(registry.from_torchlib)))
        patch.setattr(operators, name, functools.cache(getattr(operators, name)))
        yield


@pytest.fixture
def short_races(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races of a compile have the fewest rounds: for tests of what is raced, and of leads that no noise takes away."""
    from upscale_onnx.racing import contest
    from upscale_onnx.runtime import bench

    monkeypatch.setattr(bench, "race", functools.partial(bench.race, rounds=bench.MIN_ROUNDS))
    monkeypatch.setattr(contest, "_FINAL_ROUNDS", bench.MIN_ROUNDS)
    monkeypatch.setattr(contest, "_REVERT_SECONDS", 0.1)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder with the optional corpus of large models: $UPSCALE_CORPUS or ../shared/corpus; skips without it."""
    folder = Path(os.environ.get("UPSCALE_CORPUS", ROOT.parent / "shared" / "corpus"))
    if not folder.is_dir():
        pytest.skip(f"no corpus at {folder}: set UPSCALE_CORPUS to its folder")
    return folder
