"""Operators that onnxruntime does not know are refused before any work."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.graphs import parse, weight
from upscale_onnx import pipeline
from upscale_onnx.errors import ModelError
from upscale_onnx.runtime import soundness
from upscale_onnx.runtime.sessions import make_session
from upscale_onnx.worker import in_process


def network(operator: str = "Relu", domain: str = "") -> onnx.ModelProto:
    """Two layers with an operator between. Their weights are not small."""
    text = "(float[N,8] x) => (float[N,8] y) { h = MatMul(x, a)\nr = Relu(h)\ny = MatMul(r, b) }"
    model = parse(text, a=weight(8, 256), b=weight(256, 8))
    model.graph.node[1].op_type, model.graph.node[1].domain = operator, domain
    if domain:
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    return model


UNKNOWN = network("Thing", "my.own")


def test_it_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "pruned_as_asked", None)
    with pytest.raises(ModelError, match=r"^onnxruntime cannot load the model: ") as caught:
        upscale_onnx.compile(UNKNOWN)
    assert "\n" not in str(caught.value)


def test_no_weight_is_loaded_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[onnx.ModelProto] = []

    def watched(model: onnx.ModelProto, **options: Any) -> Any:
        loaded.append(model)
        return make_session(model, **options)

    monkeypatch.setattr(soundness, "make_session", watched)
    with in_process(), pytest.raises(ModelError):
        soundness.check_operators(UNKNOWN)
    assert [len(model.graph.initializer) for model in loaded] == [0]


def test_what_loads_only_with_its_weights_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = network()
    del broken.graph.initializer[:]
    monkeypatch.setattr(soundness, "skeleton", lambda model: broken)
    soundness.check_operators(network())


@pytest.mark.parametrize("domain", ["ai.onnx.ml", "ai.onnx.preview.training"])
def test_operators_of_the_standard_are_left_to_the_reference(domain: str) -> None:
    soundness.check_operators(network("Thing", domain))


def test_without_verification_nothing_is_refused() -> None:
    model = UNKNOWN
    made = upscale_onnx.compile(model, verify=False, race=False).model
    assert [node.op_type for node in made.graph.node] == ["MatMul", "Thing", "MatMul"]
    for before, after in zip(model.graph.initializer, made.graph.initializer, strict=True):
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(before), onnx.numpy_helper.to_array(after))
