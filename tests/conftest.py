"""Settings shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# What the tests start in other folders is to see this tree too, whichever copy of the package is installed, or none.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))

# Machines differ and share their cores: a slow example is no failure, and the same examples run everywhere.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("steady")


@pytest.fixture(autouse=True, scope="session")
def kept_contracts() -> Iterator[None]:
    """Every pass that a test runs is held to what it requires and ensures."""
    from upscale_onnx.passes.pipeline import checking

    with checking():
        yield


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder with the optional corpus of large models: $UPSCALE_CORPUS or ../shared/corpus; skips without it."""
    folder = Path(os.environ.get("UPSCALE_CORPUS", ROOT.parent / "shared" / "corpus"))
    if not folder.is_dir():
        pytest.skip(f"no corpus at {folder}: set UPSCALE_CORPUS to its folder")
    return folder
