"""Which value speaks for the channels of a weight."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.plan.models import Net
from upscale_onnx.options import Options, Side
from upscale_onnx.pruning.activations import Observed, observed
from upscale_onnx.pruning.evidence import Evidence


def places(model: onnx.ModelProto, side: Side) -> dict[str, Observed]:
    """By weight, the value that speaks for it."""
    return observed(Evidence(model, Options.of(side=side)))


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "HardSwish", "Softplus", "PRelu"])
def test_a_layer_is_judged_by_its_activation(activation: str) -> None:
    net = Net()
    given = [net.conv("x", "a", net.matrix(8, 3, 1, 1))]
    if activation == "PRelu":
        given.append(net.weight("slope", np.ones((8, 1, 1), np.float32)))
    net.conv(net.op(activation, given, "activated"), "y", net.matrix(4, 8, 1, 1))
    model = net.model(["y"], x=(1, 3, 5, 5))
    assert places(model, "output") == {"a_w": Observed("activated", 1)}
    assert places(model, "input") == {"y_w": Observed("activated", 1)}


@pytest.mark.parametrize("behind", ["Exp", "Softmax", "MaxPool"])
def test_what_is_no_activation_does_not_speak_for_a_layer(behind: str) -> None:
    net = Net()
    attrs = {"kernel_shape": [2, 2]} if behind == "MaxPool" else {}
    made = net.op(behind, net.conv("x", "a", net.matrix(8, 3, 1, 1)), "behind", **attrs)
    net.conv(made, "y", net.matrix(4, 8, 1, 1))
    assert places(net.model(["y"], x=(1, 3, 5, 5)), "output") == {"a_w": Observed("a", 1)}


def test_channels_of_a_matrix_product_are_last_and_samples_are_never_taken_for_them() -> None:
    net = Net()
    a = net.op("Gemm", ["x", net.weight("a_w", net.matrix(16, 12))], "a", transB=1)
    b = net.op("MatMul", [a, net.weight("b_w", net.matrix(16, 15))], "b")
    net.op("Gemm", [b, net.weight("c_w", net.matrix(9, 14))], "c", transA=1)
    assert places(net.model(["c"], x=(9, 12)), "input") == {"a_w": Observed("x", -1), "b_w": Observed("a", -1)}
