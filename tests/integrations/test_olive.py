"""The pass of Olive: the recipe of docs/olive.md, run as it stands; skipped where Olive is not installed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.documented.commands import commands
from tests.documented.material import classifier
from upscale_onnx.options.options import option_names

pytest.importorskip("olive", reason="the pass needs Olive: pip install 'upscale-onnx[olive]'", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("default")  # Olive's own

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "olive.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with in.onnx; Olive sends nothing."""
    monkeypatch.setenv("OLIVE_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("CI", "1")
    monkeypatch.chdir(tmp_path)
    onnx.save(classifier(), "in.onnx")
    return tmp_path


def workflow(**parameters: Any) -> dict[str, Any]:
    """The workflow of the page, with these parameters of the pass in place of its own."""
    found: dict[str, Any] = json.loads(re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0])
    if parameters:
        found["passes"] = {"smaller": {"type": "UpscaleOnnx", **parameters}}
    return found


def test_the_recipe(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "workflow.json").write_text(json.dumps(workflow()), encoding="utf-8")
    (program,) = (command.text for command in commands(PAGE, ROOT) if command.is_python)
    exec(program, {})
    made = onnx.load(capsys.readouterr().out.splitlines()[-1])
    weights = {tensor.name: tensor for tensor in made.graph.initializer}
    wide = {tensor.name: tensor for tensor in classifier().graph.initializer}
    assert weights["w3"].dims[1] < wide["w3"].dims[1]
    assert weights["w3"].data_type == onnx.TensorProto.FLOAT16


def test_a_failed_compile_is_a_failed_pass(folder: Path) -> None:
    from olive.workflows import run

    from upscale_onnx.integrations.olive import package_config

    wrong = workflow(criterion="no-such-criterion", amount=0.3)
    found = run(wrong, package_config=dict(package_config()))
    assert found is None or not found.has_output_model()


def test_parameters_are_the_options_of_a_compile() -> None:
    from olive.hardware import DEFAULT_CPU_ACCELERATOR

    from upscale_onnx.integrations.olive import UpscaleOnnx

    known = UpscaleOnnx.default_config(DEFAULT_CPU_ACCELERATOR)
    assert set(option_names()) - known.keys() == {"save_reproducer", "fail_if_unchanged"}
    config = UpscaleOnnx.generate_config(DEFAULT_CPU_ACCELERATOR, {"amounts": [["fc", 0.5]]}, disable_search=True)
    assert (config.amount, config.race, config.amounts) == (None, True, (("fc", 0.5),))
