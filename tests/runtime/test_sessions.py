from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from upscale_onnx.errors import ModelError
from upscale_onnx.model import save_model
from upscale_onnx.runtime import sessions
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.worker import in_process

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n] x, float[1] w) => (float[n] y)
<float[1] w = {0.5}>
{ y = Mul (x, w) }
"""


@pytest.mark.parametrize("kind", ["proto", "bytes", "path", "str"])
def test_a_session_is_made_of_anything_that_holds_a_model(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    proto = onnx.parser.parse_model(TEXT)
    save_model(proto, tmp_path / "m.onnx")
    source = {"proto": proto, "bytes": proto.SerializeToString(), "path": tmp_path / "m.onnx"}.get(
        kind, str(tmp_path / "m.onnx")
    )
    for optimize in (True, False):
        (y,) = run(make_session(source, optimize=optimize), {"x": np.ones(2, np.float32)})
        np.testing.assert_array_equal(y, [0.5, 0.5])
    captured = capfd.readouterr()
    assert captured.err == "", "a weight listed as input made onnxruntime talk"


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("packed", [1000, 10**6])
def test_a_large_model_goes_through_files(monkeypatch: pytest.MonkeyPatch, exact: bool, packed: int) -> None:
    weight = onnx.numpy_helper.from_array(np.arange(1024, dtype=np.float32), "big")
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1024] x) => (float[1024] y) { y = Add (x, big) }'
    )
    model.graph.initializer.append(weight)
    written: list[str] = []
    made = ort.InferenceSession

    def watched(source: str, *args: object, **kwargs: object) -> ort.InferenceSession:
        written.extend(sorted(file.suffix for file in Path(source).parent.iterdir()))
        return made(source, *args, **kwargs)

    monkeypatch.setattr(ort, "InferenceSession", watched)
    monkeypatch.setattr(sessions, "_IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(sessions, "_PACKED_BYTES", packed)
    with in_process():
        (y,) = run(make_session(model, exact=exact), {"x": np.zeros(1024, np.float32)})
    np.testing.assert_array_equal(y, np.arange(1024))
    assert written == ([".data", ".onnx"] if exact else [".onnx"])


@pytest.mark.parametrize("model", [b"", b"not a model"])
def test_a_model_that_does_not_load_gives_one_line(model: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="onnxruntime cannot load the model: ") as caught:
        make_session(model)
    assert "\n" not in str(caught.value)
    assert "ONNXRuntimeError" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("inputs", [{}, {"x": np.ones((2, 2), np.float32)}, {"x": np.ones(2)}, {"z": np.ones(2)}])
def test_inputs_that_do_not_fit_give_one_line(inputs: dict[str, object], capfd: pytest.CaptureFixture[str]) -> None:
    session = make_session(onnx.parser.parse_model(TEXT))
    with pytest.raises(ModelError, match="onnxruntime cannot run the model: ") as caught:
        run(session, inputs)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_the_cause_of_a_failure_is_told_and_not_where_in_the_source_it_is() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x, int64[2] s) => (y) { y = Reshape (x, s) }'
    )
    with pytest.raises(ModelError) as caught:
        run(make_session(model), {"x": np.ones(8, np.float32), "s": np.array([3, 5])})
    assert str(caught.value).endswith("Input shape:{8}, requested shape:{3,5}")
    assert ".h:" not in str(caught.value)
    assert "::" not in str(caught.value)


def test_a_long_signature_does_not_hide_the_cause() -> None:
    empty = onnx.helper.make_graph([], "g", [], [])
    with pytest.raises(ModelError, match="OrtValue indexes should have been populated"):
        make_session(onnx.helper.make_model(empty, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8))
