"""The examples in the docstrings of all public names are there, and run."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

import upscale_onnx
from tests.doctests import check_examples
from upscale_onnx.searching.strategies import registry

# The public names of each public module.
PUBLIC = {
    "upscale_onnx": upscale_onnx.__all__,
    "upscale_onnx.compat": importlib.import_module("upscale_onnx.compat").__all__,
    "upscale_onnx.condensa": importlib.import_module("upscale_onnx.condensa").__all__,
    "upscale_onnx.searching.strategies": ["register"],
}
NAMES = sorted({f"{module}.{name}" for module, names in PUBLIC.items() for name in names})
# Optional libraries that examples need.
NEEDED = {
    "upscale_onnx.finetune": "torch",
    "upscale_onnx.prune": "torch",
    "upscale_onnx.search": "optuna",
    "upscale_onnx.searching.strategies.register": "optuna",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_public_name_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    module, _, last = name.rpartition(".")
    documented = getattr(importlib.import_module(module), last)
    monkeypatch.setattr(registry, "_OTHERS", {})  # what an example registers ends with it
    check_examples(documented.__doc__ or "", name, tmp_path, monkeypatch)


def test_no_public_name_is_that_of_a_module() -> None:
    """A module is an attribute of its package as soon as it is imported, in place of the function."""
    assert not {module.name for module in pkgutil.iter_modules(upscale_onnx.__path__)} & set(upscale_onnx.__all__)


def test_what_is_needed_is_public() -> None:
    assert set(NEEDED) <= set(NAMES)
