"""What stands in bodies counts: in the figures of a model, in its form, and where two models differ."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx.model.differences import differences
from upscale_onnx.model.form import has_same_form
from upscale_onnx.model.stats import model_stats
from upscale_onnx.repair.layers import linear_layers

TEXT = """<ir_version: 10, opset_import: ["" : 17]> g (float[2,8] x, bool c) => (float[2,4] y) {
  a = MatMul(x, w)
  y = If (c) <
    then_branch = yes () => (float[2,4] r) { b = MatMul(a, up) r = MatMul(b, down) },
    else_branch = no () => (float[2,4] s) { d = MatMul(a, w) s = MatMul(d, v) }
  >
}"""


def network(width: int) -> onnx.ModelProto:
    """The first branch makes `width` channels; the other one uses a weight of the main graph again."""
    model = onnx.parser.parse_model(TEXT)
    branch = model.graph.node[1].attribute[0].g
    weights = {"w": (8, 8), "v": (8, 4), "up": (8, width), "down": (width, 4)}
    for name, shape in weights.items():
        tensor = numpy_helper.from_array(np.ones(shape, np.float32), name)
        (branch if name in ("up", "down") else model.graph).initializer.append(tensor)
    onnx.checker.check_model(model, full_check=True)
    return model


def test_bodies_count_once() -> None:
    found = model_stats(network(6))
    assert found.parameters == 8 * 8 + 8 * 4 + 6 * (8 + 4)
    assert found.macs == 2 * (2 * 8 * 8 + 8 * 4 + 6 * (8 + 4))
    assert found.nodes == 6


def test_models_that_differ_in_a_body_differ() -> None:
    one, other = network(6), network(5)
    assert has_same_form(one, network(6))
    assert not has_same_form(one, other)
    changes = differences(one, other).changes
    assert [(change.node, change.parameters_before, change.parameters_after) for change in changes] == [
        ("b", 48, 40),
        ("r", 24, 20),
    ]


def test_a_weight_that_a_body_reads_too_is_not_fitted_to_one_use() -> None:
    assert [layer.weight for layer in linear_layers(network(6))] == ["up", "down", "v"]  # not "w"
