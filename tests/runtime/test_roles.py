"""Inputs that are sizes or indices get values that are legal and small."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from upscale_onnx.errors import ModelError
from upscale_onnx.model import infer_shapes
from upscale_onnx.runtime import verify
from upscale_onnx.runtime.inputs import random_inputs
from upscale_onnx.runtime.roles import InputRole, input_roles


def parse(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> ' + text)


SIZED = {
    "resize": """g (float[1, 3, 8, 8] x, int64[4] s) => (float[a, b, c, d] y)
                 { y = Resize <mode = "nearest"> (x, , , s) }""",
    "scaled": """g (float[1, 3, 8, 8] x, float[4] s) => (float[a, b, c, d] y)
                 { y = Resize <mode = "nearest"> (x, , s) }""",
    "expand": "g (float[1, 3, 8, 8] x, int64[4] s) => (float[a, b, c, d] y) { y = Expand (x, s) }",
    "reshape": "g (float[1, 3, 8, 8] x, int64[4] s) => (float[a, b, c, d] y) { y = Reshape (x, s) }",
    "tile": "g (float[1, 3, 8, 8] x, int64[4] s) => (float[a, b, c, d] y) { y = Tile (x, s) }",
    "pad": "g (float[1, 3, 8, 8] x, int64[8] s) => (float[a, b, c, d] y) { y = Pad (x, s) }",
    "constant": "g (int64[4] s) => (float[a, b, c, d] y) { y = ConstantOfShape (s) }",
    "range": "g (int64 s, int64 e, int64 d) => (int64[a] y) { y = Range (s, e, d) }",
    "product": """g (int64[2] s) => (float[a, b] y) <int64[2] t = {50, 50}>
                  { u = Mul (s, t)
                    y = ConstantOfShape (u) }""",
    "in a branch": """g (bool c, int64[4] s) => (float[a, b, c, d] y)
                      { y = If (c) <then_branch = t () => (float[a, b, c, d] p) { p = ConstantOfShape (s) },
                                    else_branch = e () => (float[a, b, c, d] q) { q = ConstantOfShape (s) }> }""",
}


@pytest.mark.parametrize("name", SIZED)
def test_sizes_that_are_fed_stay_small(name: str) -> None:
    model = parse(SIZED[name])
    found = verify(model, model)
    assert found.equal, found.detail
    for trial in range(8):
        assert max(abs(array).max() for key, array in random_inputs(model, trial=trial).items() if key != "x") <= 16


def test_a_size_that_the_graph_makes_large_is_refused() -> None:
    model = parse("""g (int64[2] s) => (float[a, b] y) <int64[2] t = {100000, 100000}>
                     { u = Mul (s, t)
                       y = ConstantOfShape (u) }""")
    with pytest.raises(ModelError, match=r"would take \d+\.\d GB"):
        verify(model, model)


def test_an_input_that_does_not_fit_in_memory_is_refused() -> None:
    model = parse("g (float[100000, 100000] x) => (float[100000, 100000] y) { y = Relu (x) }")
    with pytest.raises(ModelError, match=r"'x' of shape \[100000, 100000\] would take"):
        verify(model, model)


@pytest.mark.slow
def test_open_dimensions_of_many_axes_are_made_small_enough() -> None:
    model = parse("g (float[a, b, c, d, e, f] x) => (float[a, b, c, d, e, f] y) { y = Relu (x) }")
    found = verify(model, model)
    assert found.equal
    assert all(np.prod(shapes["x"]) < 2**24 for shapes in found.shapes)


def roles(text: str) -> dict[str, InputRole]:
    model = parse(text)
    return input_roles(model, frozenset(value.name for value in model.graph.input), infer_shapes(model))


TABLE = "float[7, 1] table = {1, 2, 3, 4, 5, 6, 7}"


def test_the_vocabulary_is_found_behind_carriers_and_not_behind_arithmetic() -> None:
    moved = f"""g (int32[n, t] x) => (float[n, u, 1] y) <{TABLE}, int64[1] a = {{1}}, int64[1] z = {{0}}>
                {{ c = Cast <to = 7> (x)
                   s = Slice (c, z, a, a)
                   y = Gather (table, s) }}"""
    assert roles(moved)["x"].below == 7
    shifted = f"""g (int64[n, t] x) => (float[n, t, 1] y) <{TABLE}, int64 a = {{3}}>
                  {{ s = Sub (x, a)
                     y = Gather (table, s) }}"""
    assert "x" not in roles(shifted)
    assert verify(parse(shifted), parse(shifted)).equal


def test_the_smallest_of_several_tables_counts() -> None:
    text = f"""g (int64[n, t] x) => (float[n, t, 1] y) <{TABLE}, float[3, 1] small = {{1, 2, 3}}>
               {{ a = Gather (table, x)
                  b = Gather (small, x)
                  y = Add (a, b) }}"""
    assert roles(text)["x"].below == 3
    values = random_inputs(parse(text))["x"]
    assert values.max() < 3


def test_bytes_take_their_whole_range() -> None:
    values = random_inputs(parse("g (uint8[100, 100] x, int8[100, 100] z) => (uint8[100, 100] y) { y = Identity (x) }"))
    assert (values["x"].min(), values["x"].max()) == (0, 255)
    assert (values["z"].min(), values["z"].max()) == (-128, 127)


@pytest.mark.parametrize(
    ("domain", "opset", "inputs"), [("", 23, "x, cos, sin, places"), ("com.microsoft", 17, "x, places, cos, sin")]
)
def test_places_of_tokens_point_into_the_tables(domain: str, opset: int, inputs: str) -> None:
    """The operator of onnxruntime has its inputs in another order than the standard one."""
    node = f"{domain}.RotaryEmbedding" if domain else "RotaryEmbedding"
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : {opset}, "com.microsoft" : 1]>
            g (float[1, 2, 5, 8] x, float[9, 4] cos, float[9, 4] sin, int64[1, 5] places) => (float[1, 2, 5, 8] y)
            {{ y = {node} ({inputs}) }}"""
    )
    roles = input_roles(model, frozenset(("x", "cos", "sin", "places")), infer_shapes(model))
    assert roles == {"places": InputRole(below=9)}
    assert verify(model, model).equal
