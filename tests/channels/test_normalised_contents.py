"""What the channels behind a BatchNormalization hold. Numbers are computed only where they can matter."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.channels.channel_map import VARYING, WILD
from upscale_onnx.channels.rules import normalization
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.types import Array

_USUAL = {"scale": 2.0, "b": 0.5, "mean": -1.0, "var": 3.0}
_HUGE = float(np.float32(1e30))


def contents(changed: dict[str, float], dtype: type = np.float32, width: int = 3, epsilon: float = 1e-5) -> Array:
    """The contents of a normalised convolution; the parameters of its second channel are `changed`."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((width, 3, 1, 1)).astype(dtype)}
    for name, usual in _USUAL.items():
        weights[name] = np.full(width, usual, dtype)
        weights[name][1 % width] = changed.get(name, usual)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["h"]),
            helper.make_node("BatchNormalization", ["h", *_USUAL], ["y"], epsilon=epsilon),
        ],
        "normalised",
        [helper.make_tensor_value_info("x", element, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", element, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return analyse(import_graph(model), infer_shapes(model)).maps["y"].state.ravel()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_channels_vary_where_no_parameter_settles_them(dtype: type) -> None:
    np.testing.assert_array_equal(contents({}, dtype), [VARYING] * 3)


def test_no_numbers_are_computed_where_all_channels_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalization, "evaluate", None)
    np.testing.assert_array_equal(contents({}), [VARYING] * 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"scale": _HUGE, "mean": _HUGE},
        {"scale": -_HUGE, "mean": 1.0, "var": 1e-25},
        {"var": -4.0},
        {"b": float("nan")},
        {"b": float("inf")},
        {"mean": float("inf")},
        {"var": float("nan")},
    ],
)
def test_channels_that_overflow_are_told(changed: dict[str, float]) -> None:
    np.testing.assert_array_equal(contents(changed, epsilon=0.0), [VARYING, WILD, VARYING])


def test_large_parameters_that_do_not_overflow_are_let_pass() -> None:
    np.testing.assert_array_equal(contents({"scale": _HUGE, "b": -_HUGE}), [VARYING] * 3)


def test_half_precision_overflows_early() -> None:
    np.testing.assert_array_equal(contents({"scale": 300.0, "mean": -300.0, "var": 0.5}, np.float16)[1], WILD)


def test_a_channel_without_scale_holds_its_shift() -> None:
    np.testing.assert_array_equal(contents({"scale": 0.0}), [VARYING, 0.5, VARYING])


@pytest.mark.parametrize(("var", "held"), [(3.0, VARYING), (-4.0, WILD)])
def test_a_single_channel(var: float, held: float) -> None:
    np.testing.assert_array_equal(contents({"var": var}, width=1), [held])
