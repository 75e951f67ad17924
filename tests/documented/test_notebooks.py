"""The notebooks run from their first cell to the last, and are kept without what a run writes into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.documented.programs import FOLDER

NOTEBOOKS = sorted((FOLDER.parent / "notebooks").glob("*.ipynb"))
ROOT = FOLDER.parents[1]

nbformat = pytest.importorskip("nbformat")


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_kept(path: Path) -> None:
    nbformat.validate(read(path))
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert cells
    assert [cell.source for cell in cells if cell.outputs or cell.execution_count is not None] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_tables(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for needed in {"search": ("optuna", "torch")}.get(path.stem, ()):
        pytest.importorskip(needed)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # tables that a calibration measures
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # without it Jupyter warns, and warnings are errors
    notebook = read(path)
    place = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("text/html" in output.get("data", {}) for output in shown)
