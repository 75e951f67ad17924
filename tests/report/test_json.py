"""Reports as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import stat
from pathlib import Path

import numpy as np
import pytest

from upscale_onnx.errors import ArgumentError, InternalError
from upscale_onnx.report.json import SCHEMA_VERSION, dump_json, to_json, write_json
from upscale_onnx.results import ModelStats, OutputError, Report


def test_every_field_is_there_in_its_order(report: Report) -> None:
    content = to_json(report)
    assert list(content) == ["schema_version", "kind", *(field.name for field in dataclasses.fields(report))]
    assert content["schema_version"] == SCHEMA_VERSION
    assert content["kind"] == "report"
    sizes = {"parameters": 11_689_512, "macs": 1_814_073_344, "nodes": 49, "copied_bytes": 0, "bytes": 46_800_000}
    assert content["before"] == sizes
    assert content["segments"][0]["consumers"][1]["demanded"] == 44
    assert content["segments"][0]["forks"] == ["r"]
    assert content["refusals"][4] == {
        "node": "my\nnode",
        "op_type": "Foo",
        "reason": "operator of another domain",
        "detail": "com.example",
        "channels": 0,
        "bytes": 0,
    }
    assert content["verification"]["shapes"] == [{"x": [1, 3, 224, 224]}, {"x": [2, 3, 224, 224]}]
    assert content["seconds"] == {"load": 0.25, "analysis": 0.1}


def test_text_and_back(report: Report) -> None:
    text = dump_json(report)
    assert json.loads(text) == to_json(report)
    assert text == dump_json(dataclasses.replace(report))
    assert text.endswith("}\n")


def test_floats_are_not_rounded(report: Report) -> None:
    outputs = json.loads(dump_json(report))["verification"]["outputs"]
    assert outputs[0]["relative"] == 1 / 3
    assert outputs[0]["max_absolute"] == 1.1920929e-07
    assert outputs[1]["argmax_agreement"] is None


def test_what_was_not_done_is_null(report: Report) -> None:
    content = to_json(dataclasses.replace(report, verification=None, race=None))
    assert content["verification"] is None
    assert content["race"] is None


def test_numpy_scalars_become_plain() -> None:
    content = to_json(ModelStats(np.int64(3), np.int32(4), np.uint8(5), 6))
    assert {type(content[name]) for name in ("parameters", "macs", "nodes")} == {int}
    assert json.loads(json.dumps(content))["parameters"] == 3


def test_what_is_not_finite_is_text_that_float_reads() -> None:
    content = json.loads(dump_json(OutputError("y", math.nan, math.inf, -math.inf, np.float32("inf"))))
    assert [content[n] for n in ("max_absolute", "relative", "cosine", "argmax_agreement")] == [
        "nan",
        "inf",
        "-inf",
        "inf",
    ]


@pytest.mark.parametrize("value", [object(), ModelStats, {"a": 1}, None])
def test_what_is_no_result_is_refused(value: object) -> None:
    with pytest.raises(InternalError, match="no report can be made of"):
        to_json(value)


def test_a_field_json_cannot_hold_is_refused() -> None:
    with pytest.raises(InternalError, match="object"):
        to_json(ModelStats(object(), 0, 0, 0))  # type: ignore[arg-type]


def test_written_whole_or_not_at_all(tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.json"
    path.write_text("before")
    monkeypatch.setattr(Path, "replace", _full)
    with pytest.raises(ArgumentError, match=r"r\.json: cannot be written: No space left"):
        write_json(report, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    write_json(report, path)
    assert json.loads(path.read_text()) == to_json(report)
    assert list(tmp_path.iterdir()) == [path]


def _full(self: Path, target: Path) -> Path:
    raise OSError(28, "No space left on device")


def test_a_new_file_has_the_usual_permissions(tmp_path: Path, report: Report) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    write_json(report, tmp_path / "r.json")
    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_a_link_is_followed(tmp_path: Path, report: Report) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    write_json(report, tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "target.json").read_text())["kind"] == "report"


def test_an_absent_folder_is_one_line(tmp_path: Path, report: Report) -> None:
    with pytest.raises(ArgumentError, match=r"none/r\.json: .* does not exist"):
        write_json(report, tmp_path / "none" / "r.json")
