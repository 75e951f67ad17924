"""The JSON Schema of reports: it is the published one, and holds for what is written."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import upscale_onnx
from upscale_onnx.cli.main import main
from upscale_onnx.model import load_model
from upscale_onnx.model.differences import differences
from upscale_onnx.report.json import to_json
from upscale_onnx.report.schema import WRITTEN, schema
from upscale_onnx.results import Accuracy, Course, Epoch, Front, Report
from upscale_onnx.unstructured.sparsity import sparsity

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).resolve().parents[2]
MODEL = str(ROOT / "models" / "digits_cnet_masked.onnx")
DATA = str(ROOT / "models" / "digits_test.npz")
FRONT = Front("accuracy", "params", 1, 0, {"tpe": ((0.4, 0.9),)}, ((0.4, 0.9),), ("profile",), (("0",),), ("x",), {})


@pytest.fixture(scope="module")
def strict() -> Any:
    """A validator that allows no field that the schema does not name."""
    closed = copy.deepcopy(schema())
    for part in _objects(closed):
        part.setdefault("additionalProperties", False)
    return jsonschema.Draft202012Validator(closed)


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    for inside in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _objects(inside)
    if isinstance(part, dict) and part.get("type") == "object":
        yield part


def test_the_published_schema_is_that_of_the_code() -> None:
    published = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    assert published == schema(), "run docs/programs/report_schema.py"
    jsonschema.Draft202012Validator.check_schema(published)


@pytest.mark.parametrize(
    "command",
    [
        f"{MODEL} OUT --amount 0.3 --calibration {DATA} --no-race --json FILE",
        f"inspect {MODEL} --json FILE",
        f"bench {MODEL} {MODEL} --operators --budget 0.1 --rounds 7 --provider cpu --json FILE",
    ],
)
def test_what_commands_write_is_valid(command: str, strict: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    places = {"OUT": str(tmp_path / "out.onnx"), "FILE": str(file)}
    assert main([*(places.get(word, word) for word in command.split()), "-q"]) == 0
    strict.validate(json.loads(file.read_text()))


def test_results_of_other_kinds_are_valid(strict: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSCALE_ONNX_CACHE", str(tmp_path))
    course = Course(None, 0.5, (Epoch(1, 0.25, None, 0.5, 0.01, 2.0),), 1, ("w",), 0, 64)
    found = [
        upscale_onnx.verify(MODEL, MODEL, proofs=("global",)),
        differences(load_model(MODEL), load_model(MODEL)),
        upscale_onnx.calibrate(MODEL, budget_s=0.01),
        Accuracy(0.5, float("nan"), 3),
        upscale_onnx.scan(MODEL, amounts=(0.3,), layers=("features.3*",), limit=8),
        sparsity(load_model(MODEL)),
        course,
        FRONT,
    ]
    for result in found:
        strict.validate(to_json(result))
    of_commands = {"Report", "Inspection", "Bench"}
    assert {type(result).__name__ for result in found} | of_commands == {kind.__name__ for kind in WRITTEN}


@pytest.mark.parametrize(
    ("name", "value"),
    [("masked_channels", "many"), ("bound_ratio", "small"), ("schema_version", 2), ("new", 1), ("before", {})],
)
def test_what_is_no_report_is_not_valid(name: str, value: object, report: Report, strict: Any) -> None:
    content = to_json(report)
    strict.validate(content)
    with pytest.raises(jsonschema.ValidationError):
        strict.validate({**content, name: value})
    with pytest.raises(jsonschema.ValidationError):
        strict.validate({field: found for field, found in content.items() if field != "effect"})
