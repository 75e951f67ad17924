from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from upscale_onnx.runtime.compare import compare_outputs

NAN, INF = math.nan, math.inf


def floats(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def test_errors_are_relative_to_the_outputs_scale() -> None:
    error = compare_outputs("y", floats(0, -4, 2), floats(0.5, -4, 2))
    assert error.max_absolute == 0.5
    assert error.relative == 0.125
    assert 0.98 < error.cosine < 1


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (floats(1, NAN, INF, -INF), floats(1, NAN, INF, -INF)),
        (floats(), floats()),
        (floats(0, 0), floats(0, 0)),
        (floats(NAN), floats(NAN)),
        (np.array([1, 2]), np.array([1, 2])),
        (np.array(["a", "b"], object), np.array(["a", "b"], object)),
        (np.array([True]), np.array([True])),
        ([floats(1), floats(2)], [floats(1), floats(2)]),
        ([{"a": 1.0}, {"b": 2.0}], [{"a": 1.0}, {"b": 2.0}]),
        (None, None),
        (floats(1).astype(ml_dtypes.bfloat16), floats(1).astype(ml_dtypes.bfloat16)),
        (floats(1) * 1j, floats(1) * 1j),
    ],
)
def test_equal_values_have_no_distance(expected: Any, actual: Any) -> None:
    error = compare_outputs("y", expected, actual)
    assert error.max_absolute == error.relative == 0.0
    assert error.cosine == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (floats(1, NAN), floats(1, 2)),
        (floats(1, 2), floats(1, NAN)),
        (floats(1, INF), floats(1, -INF)),
        (floats(1, 2), floats(1, INF)),
        (floats(1), floats(1, 1)),
        (floats(1), np.array([1.0])),
        (np.array([1, 2]), np.array([1, 3])),
        (np.array(["a"], object), np.array(["b"], object)),
        (np.array([True]), np.array([False])),
        ([floats(1)], [floats(1), floats(2)]),
        ([floats(1)], floats(1)),
        ({"a": 1.0}, {"b": 1.0}),
        ([{"a": np.array([1])}], [{"a": np.array([2])}]),
        (None, floats(1)),
    ],
)
def test_what_cannot_be_rounding_is_infinitely_far(expected: Any, actual: Any) -> None:
    assert compare_outputs("y", expected, actual).relative == INF


def test_zeros_are_held_against_one() -> None:
    assert compare_outputs("y", floats(0, 0), floats(0, 1e-3)).relative == pytest.approx(1e-3)


def test_half_precision_does_not_overflow() -> None:
    error = compare_outputs("y", np.array([60000], np.float16), np.array([-60000], np.float16))
    assert error.relative == pytest.approx(2, rel=0.01)


def test_classifiers_count_agreeing_rows() -> None:
    expected = np.array([[1, 2], [4, 3]], np.float32)
    assert compare_outputs("y", expected, expected[:, ::-1]).argmax_agreement == 0
    assert compare_outputs("y", expected, np.array([[1, 2], [2, 3]], np.float32)).argmax_agreement == 0.5
    assert compare_outputs("y", expected[:, :1], expected[:, :1]).argmax_agreement is None
    assert compare_outputs("y", expected[None], expected[None]).argmax_agreement is None
