"""The time of a compile grows about as the network does."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx import compile

_CHANNELS = 8


def chain(layers: int) -> onnx.ModelProto:
    """A chain of Conv and Relu with a residual Add at every fourth, of whose channels a quarter is not read."""
    rng = np.random.default_rng(0)
    nodes, weights, value, held = [], [], "x", "x"
    for layer in range(layers):
        weight = rng.choice(np.array([-1, 1], np.float32), (_CHANNELS, _CHANNELS, 1, 1))
        weight[:, rng.permutation(_CHANNELS)[:2]] = 0
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [value, f"w{layer}"], [f"c{layer}"], name=f"c{layer}"))
        value = f"c{layer}"
        if layer % 4 == 3:
            nodes.append(helper.make_node("Add", [value, held], [f"a{layer}"], name=f"a{layer}"))
            value = held = f"a{layer}"
        nodes.append(helper.make_node("Relu", [value], [f"r{layer}"], name=f"r{layer}"))
        value = f"r{layer}"
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", _CHANNELS, 4, 4])]
    outputs = [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["N", _CHANNELS, 4, 4])]
    graph = helper.make_graph(nodes, "chain", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def seconds(model: onnx.ModelProto, export: str, runs: int) -> float:
    """Processor time of the fastest of some compiles: other processes do not count."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        compile(model, export=export, race=False, verify=False)  # type: ignore[arg-type]
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.slow
@pytest.mark.parametrize("export", ["keep", "upscale", "gather"])
def test_time_grows_about_linearly(export: str) -> None:
    short, long = seconds(chain(50), export, runs=3), seconds(chain(500), export, runs=1)
    assert long < 30 * short, f"ten times the layers took {long / short:.0f} times as long"
