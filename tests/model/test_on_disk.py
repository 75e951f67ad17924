"""Copies of models whose large weights are in a file: what they hold, how long, and what is noticed about the file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.graphs import parse
from upscale_onnx.errors import ModelError
from upscale_onnx.model import stored
from upscale_onnx.model.on_disk import beside_its_data, data_folder, in_memory, weights_on_disk
from upscale_onnx.runtime.sessions import make_session

MODEL = parse(
    "(float[1,64] x) => (float[1,64] y) { m = MatMul(x, w)  y = Add(m, b) }",
    w=np.arange(64 * 64, dtype=np.float32).reshape(64, 64),
    b=np.ones(64, np.float32),
)


@pytest.fixture(autouse=True)
def _low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "ALWAYS_IN_MEMORY", 4096)
    monkeypatch.setattr(stored, "SMALLEST", 4096)


def held(model: onnx.ModelProto) -> dict[str, tuple[tuple[int, ...], bytes]]:
    return {tensor.name: (tuple(tensor.dims), tensor.raw_data) for tensor in model.graph.initializer}


def only_file(folder: Path | None) -> Path:
    assert folder is not None
    (file,) = folder.glob("*.data")
    return file


def test_a_small_model_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "ALWAYS_IN_MEMORY", 64 * 65 * 4)
    with weights_on_disk(MODEL) as found:
        assert found is MODEL
    assert data_folder(MODEL) is None
    assert in_memory(MODEL) is MODEL


def test_large_weights_are_in_a_file_for_as_long_as_the_context() -> None:
    with weights_on_disk(MODEL) as found:
        assert found.ByteSize() < 1024
        assert onnx.numpy_helper.to_array(found.graph.initializer[1]).tolist() == [1] * 64, "small ones stay"
        folder = data_folder(found)
        assert only_file(folder).read_bytes() == MODEL.graph.initializer[0].raw_data
        assert held(in_memory(found)) == held(MODEL)
    assert folder is not None
    assert not folder.exists()


def test_the_form_for_a_file_names_the_data_beside_it() -> None:
    with weights_on_disk(MODEL) as found:
        beside = beside_its_data(found)
        folder = data_folder(found)
        assert folder is not None
        onnx.save(beside, folder / "other.onnx")
        assert held(onnx.load(folder / "other.onnx")) == held(MODEL)
        assert data_folder(beside) is None
        assert data_folder(found) == folder, "the model itself is not changed"


def test_a_file_that_lost_its_end_is_one_clear_line() -> None:
    with weights_on_disk(MODEL) as found:
        os.truncate(only_file(data_folder(found)), 1000)
        with pytest.raises(ModelError, match=r"is too short: tensor 'w' ends at byte 16384 of 1000"):
            in_memory(found)


@pytest.mark.parametrize("place", ["/etc/passwd", "/upscale_onnx-1/../etc/passwd", "upscale_onnx-1/w", "w", ""])
def test_no_other_file_is_taken_for_weights_of_ours(place: str) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=place)
    assert data_folder(model) is None
    with pytest.raises(ModelError, match="is not loaded"):
        make_session(model.SerializeToString())
