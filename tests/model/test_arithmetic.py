"""In which numbers most layers are computed, and the blocks of channels that follow from it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.graphs import parse, weight
from upscale_onnx.costs.targets import target
from upscale_onnx.model.arithmetic import arithmetic
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
    "QOperator": parse(OPERATORS, v=np.ones((4, 3, 1, 1), np.uint8), **STEP),
}
INTEGERS = ("QDQ", "QOperator")


@pytest.mark.parametrize("name", MODELS)
def test_layers_are_integers_where_their_activations_are(name: str) -> None:
    model: onnx.ModelProto = MODELS[name]
    assert arithmetic(model) == ("int8" if name in INTEGERS else "float32")
    chosen = chosen_target(TargetOptions(name="cpu-avx2"), model)
    assert chosen.block() == chosen.costs(4).align == (16 if name in INTEGERS else 8)


def test_a_machine_of_narrow_blocks_has_wider_ones_for_integers() -> None:
    assert [target("cpu", 8).block(dtype) for dtype in (None, "float32", "int8")] == [8, 8, 16]
