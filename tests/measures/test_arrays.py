"""Labelled images in memory are what they are in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import upscale_onnx
from upscale_onnx.errors import ArgumentError

ROOT = Path(__file__).resolve().parents[2]
MODEL, DATA = ROOT / "models" / "digits_cnet_masked.onnx", ROOT / "models" / "digits_test.npz"


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    """The arrays of the shipped test images."""
    with np.load(DATA) as file:
        return {name: file[name] for name in file}


def test_accuracy(arrays: dict[str, Any]) -> None:
    assert upscale_onnx.evaluate(MODEL, arrays) == upscale_onnx.evaluate(MODEL, DATA)
    some = upscale_onnx.evaluate(MODEL, arrays, limit=20, seed=3)
    assert some == upscale_onnx.evaluate(MODEL, str(DATA), limit=20, seed=3)
    assert some.images == 20


def test_a_scan(arrays: dict[str, Any]) -> None:
    how: dict[str, Any] = {"amounts": (0.5,), "layers": ("features.3*",), "limit": 32}
    assert upscale_onnx.scan(MODEL, arrays, **how) == upscale_onnx.scan(MODEL, DATA, **how)


def test_what_is_wrong_with_arrays_is_one_line(arrays: dict[str, Any]) -> None:
    images, labels = arrays.values()
    for data, said in (
        (images, "the array given: has no labels"),
        ({"x": images, "y": labels[:5]}, "the arrays given: "),
        ({"x": images[:0], "y": labels[:0]}, "the arrays given: holds no images"),
    ):
        with pytest.raises(ArgumentError) as error:
            upscale_onnx.evaluate(MODEL, data)
        assert str(error.value).startswith(said)
        assert len(str(error.value)) < 200
