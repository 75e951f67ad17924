"""Goldens of MergeConstants."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.passes.apply import applied
from tests.traps.net import net, vector, weight
from upscale_onnx.passes.merge_constants import MergeConstants
from upscale_onnx.types import Array


def weights(model: onnx.ModelProto) -> dict[str, Array]:
    """The weight of each Conv and MatMul, by the name of its result."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {node.output[0]: values[node.input[1]] for node in model.graph.node if node.input[1:2]}


@pytest.mark.parametrize(
    ("op", "shape", "axis"), [("Conv<pads=[1,1,1,1]>", (4, 8, 3, 3), 1), ("ConvTranspose", (8, 4, 3, 3), 0)]
)
def test_weights_move_to_the_largest_constant(op: str, shape: tuple[int, ...], axis: int) -> None:
    """The channels 1, 4 and 6 are 3, -4 and 2."""
    w2 = weight(*shape)
    model = net(
        "(float[N,3,6,6] x) => (float y)", f"h = Conv(x, w1, b1)\n        y = {op}(h, w2)",
        w1=weight(8, 3, 1, 1, silent=(1, 4, 6)), b1=vector(8, c1=3, c4=-4, c6=2), w2=w2,
    )  # fmt: skip
    expected = np.moveaxis(w2.copy(), axis, 0)
    expected[4] += expected[1] * np.float32(-0.75) + expected[6] * np.float32(-0.5)
    expected[[1, 6]] = 0
    np.testing.assert_allclose(np.moveaxis(weights(applied(model, MergeConstants()))["y"], axis, 0), expected, 1e-6)


@pytest.mark.parametrize(("silent", "pads"), [((1,), 1), ((), 1), ((1, 4), 0)])
def test_nothing_moves_where_one_constant_is_left_or_the_bias_takes_them(silent: tuple[int, ...], pads: int) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        f"h = Conv(x, w1, b1)\n        y = Conv<pads={[pads] * 4}>(h, w2)",
        w1=weight(8, 3, 1, 1, silent=silent), b1=vector(8), w2=weight(4, 8, 3, 3),
    )  # fmt: skip
    np.testing.assert_array_equal(weights(applied(model, MergeConstants()))["y"], weights(model)["y"])


def test_weights_that_would_not_be_finite_stay() -> None:
    w2 = weight(4, 8, 3, 3)
    w2[0, 1] = np.inf
    model = net(
        "(float[N,3,6,6] x) => (float y)", "h = Conv(x, w1, b1)\n        y = Conv<pads=[1,1,1,1]>(h, w2)",
        w1=weight(8, 3, 1, 1, silent=(1, 4)), b1=vector(8), w2=w2,
    )  # fmt: skip
    np.testing.assert_array_equal(weights(applied(model, MergeConstants()))["y"], w2)
