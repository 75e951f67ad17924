"""Sizes are bytes of the file: nothing larger than the input is written, and constants count whatever their type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import upscale_onnx
from tests.graphs import parse, weight
from upscale_onnx.model import save_model
from upscale_onnx.model.stats import model_stats
from upscale_onnx.options import Export, Prefer


def forked() -> onnx.ModelProto:
    """Two layers that read different halves of a value, so little of it that a selection takes more than it saves."""
    return parse(
        """(float[1,1,2,2] x) => (float[1,1,2,2] y, float[1,1,2,2] z) {
            a = Conv(x, w)
            y = Conv(a, u)
            z = Conv(a, v)
        }""",
        w=weight(4, 1, 1, 1),
        u=weight(1, 4, 1, 1, columns=[0, 1]),
        v=weight(1, 4, 1, 1, columns=[2, 3]),
    )


@pytest.mark.parametrize("prefer", ["size", "speed"])
def test_the_input_is_written_where_exports_are_larger(prefer: Prefer) -> None:
    result = upscale_onnx.compile(forked(), align=1, race=False, prefer=prefer)
    assert result.report.after.bytes <= result.report.before.bytes


@pytest.mark.parametrize("export", ["gather", "upscale"])
def test_an_export_that_is_asked_for_is_made_and_its_size_told(export: Export) -> None:
    report = upscale_onnx.compile(forked(), align=1, race=False, export=export).report
    assert report.export == export
    assert report.after.macs < report.before.macs
    assert any("larger than the input" in note for note in report.notes)


def test_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    model = forked()
    save_model(model, tmp_path / "m.onnx")
    assert model_stats(model).bytes == (tmp_path / "m.onnx").stat().st_size


def test_constants_count_whatever_their_type_and_place() -> None:
    model = parse(
        "(float[2,3] x) => (float[2,3] y) { a = Add(x, f) b = Cast<to=1>(i) c = Add(a, b) y = Add(c, n) }",
        f=np.ones(3, np.float32),
        i=np.ones((2, 3), np.int8),
        n=np.ones(1, np.float32),
    )
    inside = numpy_helper.from_array(np.ones(1, np.float32))
    del model.graph.initializer[2]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["n"], value=inside))
    assert model_stats(model).parameters == 3 + 6 + 1
