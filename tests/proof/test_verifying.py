"""Comparing models from Python: the verdict, inputs, and certificates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from upscale_onnx.errors import ArgumentError
from upscale_onnx.proof.certificate import certificate_bytes, certify

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "digits_cnet_masked.onnx"


@pytest.fixture(scope="module")
def result() -> upscale_onnx.Result:
    """The shipped model, compiled."""
    return upscale_onnx.compile(MODEL, race=False, verify=False)


def test_another_model_is_not_equal(result: upscale_onnx.Result) -> None:
    other = onnx.ModelProto()
    other.CopyFrom(result.model)
    weight = other.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(1.5 * numpy_helper.to_array(weight), weight.name))
    assert upscale_onnx.verify(MODEL, result.model, proofs=("global",), trials=2).equal
    found = upscale_onnx.verify(MODEL, other, proofs=("global",), trials=2)
    assert not found.equal
    assert str(found).startswith("Not shown equal: ")
    assert upscale_onnx.verify(MODEL, other, proofs=("global",), trials=2, tolerance=10.0).equal


def test_inputs_are_arrays_too(result: upscale_onnx.Result) -> None:
    images = np.ones((3, 1, 8, 8), np.float32)
    options = upscale_onnx.Options.of(proofs=("global",), inputs=images)
    shapes = upscale_onnx.verify(MODEL, result.model, options, trials=1).shapes
    assert {"image": (3, 1, 8, 8)} in shapes
    with pytest.raises(ArgumentError, match="the arrays given"):
        upscale_onnx.verify(MODEL, result.model, options, trials=1, inputs=np.zeros((1, 7), np.float32))


def test_a_certificate_is_proven_again(result: upscale_onnx.Result, tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    path.write_bytes(certificate_bytes(certify(result)))
    found = upscale_onnx.verify(MODEL, result.model, certificate=path, proofs=("local",))
    assert found.equal
    assert found.local is not None
    assert found.local.proven == found.local.regions
    with pytest.raises(ArgumentError, match="another original"):
        upscale_onnx.verify(result.model, result.model, certificate=path)
    with pytest.raises(ArgumentError, match="another compiled model"):
        upscale_onnx.verify(MODEL, MODEL, certificate=path)
