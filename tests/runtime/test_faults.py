"""A failure of the compiler is the model's fault only where nobody can run the model."""

from __future__ import annotations

import onnx
import pytest

import upscale_onnx
from upscale_onnx import pipeline
from upscale_onnx.errors import (
    ArgumentError,
    InternalError,
    ModelError,
    NotEquivalentError,
    ProviderError,
    UpscaleError,
)

SOUND = '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 4] x) => (float[1, 4] y) { y = Relu (x) }'
BROKEN = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 4] x) => (float[2, 3] y) <int64[2] s = {2, 3}> { y = Reshape (x, s) }"""


def _failing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "load_model", fail)


@pytest.mark.parametrize("error", [KeyError("lost"), InternalError("lost")])
def test_a_failure_on_a_sound_model_is_a_bug(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(error, monkeypatch)
    with pytest.raises(type(error), match="lost"):
        upscale_onnx.compile(onnx.parser.parse_model(SOUND), race=False)


@pytest.mark.parametrize("error", [KeyError("lost"), InternalError("lost")])
def test_a_failure_on_a_model_that_does_not_run_is_the_models(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    _failing(error, monkeypatch)
    with pytest.raises(ModelError, match=r"the model cannot be used: .*onnxruntime cannot") as caught:
        pipeline.inspect(model=onnx.parser.parse_model(BROKEN))
    assert caught.value.__cause__ is error
    assert "\n" not in str(caught.value)


def test_errors_on_purpose_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(ProviderError("none"), monkeypatch)
    with pytest.raises(ProviderError, match="none"):
        upscale_onnx.compile(onnx.parser.parse_model(BROKEN))


def test_want_of_memory_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(MemoryError(), monkeypatch)
    with pytest.raises(ModelError, match="not enough memory"):
        upscale_onnx.compile(onnx.parser.parse_model(SOUND))


@pytest.mark.parametrize("kind", [ArgumentError, ModelError, NotEquivalentError])
def test_a_message_is_one_line_whatever_it_quotes(kind: type[UpscaleError]) -> None:
    assert str(kind("tensor 'x\ny\r\u2028z' has no shape")) == r"tensor 'x\ny\n\nz' has no shape"
