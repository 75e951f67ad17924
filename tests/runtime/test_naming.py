"""One naming of arrays: by the model's own names, or by x or images, with labels y or labels beside them."""

from __future__ import annotations

import numpy as np
import pytest

from upscale_onnx.runtime.naming import labels_in, samples_in

A, B = np.zeros(3), np.ones(3, np.int64)


@pytest.mark.parametrize("samples", ["pixels", "x", "images"])
@pytest.mark.parametrize("labels", ["y", "labels"])
def test_samples_and_labels(samples: str, labels: str) -> None:
    arrays = {samples: A, labels: B}
    assert samples_in(arrays, ["pixels"]) == {"pixels": A}
    assert labels_in(arrays, ["pixels"]) == labels


def test_an_input_that_is_called_like_labels_is_an_input() -> None:
    assert samples_in({"x": A, "y": B}, ["x", "y"]) == {"x": A, "y": B}
    assert labels_in({"x": A, "y": B}, ["x", "y"]) is None
    assert labels_in({"x": A, "y": B, "labels": B}, ["x", "y"]) == "labels"


def test_what_is_neither_keeps_its_name() -> None:
    assert samples_in({"pixels": A, "x": B}, ["pixels"]) == {"pixels": A, "x": B}
    assert samples_in({"z": A}, ["pixels"]) == {"z": A}
    assert samples_in({"x": A}, ["left", "right"]) == {"x": A}
    assert labels_in({"x": A}, ["pixels"]) is None
