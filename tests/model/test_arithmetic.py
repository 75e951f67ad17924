"""In which numbers most layers are computed, and the blocks of channels that follow from it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.graphs import parse, weight
from upscale_onnx.costs.targets import target
from upscale_onnx.model.arithmetic import DEPTHWISE_INTEGERS, FLOATS, INTEGERS, arithmetic
from upscale_onnx.options import TargetOptions
from upscale_onnx.timing.target_costs import chosen_target

ACTIVATIONS = """(float[1,3,4,4] x) => (float[1,4,4,4] y) {
    q = QuantizeLinear(x, s, z)
    d = DequantizeLinear(q, s, z)
    y = Conv(d, w)
}"""
WEIGHTS = """(float[1,3,4,4] x) => (float[1,4,4,4] y) {
    d = DequantizeLinear(v, s, z)
    y = Conv(x, d)
}"""
OPERATORS = """(uint8[1,3,4,4] x) => (uint8[1,4,4,4] y) {
    y = QLinearConv(x, s, z, v, s, z, s, z)
}"""
STEP = {"s": np.asarray(1, np.float32), "z": np.asarray(8, np.uint8)}
MODELS = {
    "float32": parse("(float[1,3,4,4] x) => (float[1,4,4,4] y) { y = Conv(x, w) }", w=weight(4, 3, 1, 1)),
    "quantised weights alone": parse(WEIGHTS, v=np.ones((4, 3, 1, 1), np.uint8), **STEP),
    "QDQ": parse(ACTIVATIONS, w=weight(4, 3, 1, 1), **STEP),
    "QDQ, depthwise": parse(
        ACTIVATIONS.replace("Conv(", "Conv<group=3>(").replace("1,4,4,4", "1,3,4,4"), w=weight(3, 1, 1, 1), **STEP
    ),
    "QOperator": parse(OPERATORS, v=np.ones((4, 3, 1, 1), np.uint8), **STEP),
}
EXPECTED = {
    "float32": (FLOATS, 8),
    "quantised weights alone": (FLOATS, 8),
    "QDQ": (INTEGERS, 8),
    "QDQ, depthwise": (DEPTHWISE_INTEGERS, 16),
    "QOperator": (INTEGERS, 8),
}


@pytest.mark.parametrize("name", MODELS)
def test_blocks_follow_the_arithmetic_of_the_model(name: str) -> None:
    model: onnx.ModelProto = MODELS[name]
    found, block = EXPECTED[name]
    assert arithmetic(model) == found
    chosen = chosen_target(TargetOptions(name="cpu-avx2"), model)
    assert chosen.block() == chosen.costs(4).align == block
    assert chosen.block("float32") == 8


def test_a_block_of_one_type_is_that_of_its_depthwise_convolutions_too() -> None:
    assert [target("cuda").block(kind) for kind in (FLOATS, INTEGERS, DEPTHWISE_INTEGERS)] == [8, 32, 32]
    assert [target("cpu", 8).block(kind) for kind in (FLOATS, INTEGERS, DEPTHWISE_INTEGERS)] == [8, 8, 16]
