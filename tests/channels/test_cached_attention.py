"""A block of a decoder with a cache: keys and values are inputs and outputs of the model, and keep their heads."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import upscale_onnx

MODEL, HEADS, GROUPS, WIDTH, INNER, DEAD = 32, 4, 2, 16, 64, 20
CACHE = f"{GROUPS},p,{WIDTH}"
LENGTHS = (
    "sum = ReduceSum<keepdims=0>(mask, one) less = Sub(sum, one) last = Cast<to=6>(less) "
    "sizes = Shape(mask) length = Gather<axis=0>(sizes, at) total = Cast<to=6>(length) "
)
FORMS = {
    "grouped": f"{LENGTHS} z, k2, v2 = com.microsoft.GroupQueryAttention<num_heads={HEADS}, kv_num_heads={GROUPS}, "
    "do_rotary=1>(q, k, v, k1, v1, last, total, cos, sin)",
    "standard": f"z, k2, v2 = Attention<q_num_heads={HEADS}, kv_num_heads={GROUPS}>(q, k, v, , k1, v1)",
}


def block(form: str) -> onnx.ModelProto:
    """Attention and neurons of which some are dead: one head of each group, and DEAD neurons."""
    text = f"q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv) {FORMS[form]} o = MatMul(z, wo) r = Add(x, o) "
    text += "n = LayerNormalization(r, g) u = MatMul(n, w1) a = Relu(u) d = MatMul(a, w2) y = Add(r, d)"
    mask = "int64[b,t] mask, " if form == "grouped" else ""
    given = f"float[b,s,{MODEL}] x, {mask}float[b,{CACHE}] k1, float[b,{CACHE}] v1"
    made = f"float[b,s,{MODEL}] y, float[b,{GROUPS},t,{WIDTH}] k2, float[b,{GROUPS},t,{WIDTH}] v2"
    header = '<ir_version: 10, opset_import: ["" : 23, "com.microsoft" : 1]>'
    model = onnx.parser.parse_model(f"{header} g ({given}) => ({made}) {{ {text} }}")
    rng = np.random.default_rng(0)
    shapes = {"wq": (MODEL, HEADS * WIDTH), "wk": (MODEL, GROUPS * WIDTH), "wv": (MODEL, GROUPS * WIDTH)}
    shapes |= {"wo": (HEADS * WIDTH, MODEL), "w1": (MODEL, INNER), "w2": (INNER, MODEL), "g": (MODEL,)}
    held = {name: rng.normal(size=shape) / 4 for name, shape in shapes.items()}
    held["w2"][:DEAD] = 0
    held["wo"][:WIDTH], held["wo"][-WIDTH:] = 0, 0
    angles = np.arange(64.0)[:, None] / np.arange(1, WIDTH // 2 + 1)
    held |= {"cos": np.cos(angles), "sin": np.sin(angles)}
    weights = {name: array.astype(np.float32) for name, array in held.items()}
    weights |= {"one": np.asarray([1]), "at": np.asarray(1)}
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in weights.items() if name in used)
    return model


@pytest.mark.parametrize("form", FORMS)
def test_heads_of_queries_and_neurons_leave(form: str) -> None:
    result = upscale_onnx.compile(block(form), export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    shapes = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    left = HEADS // 2 * WIDTH
    assert [shapes[name] for name in ("wq", "wk", "wv", "wo")] == [*[(MODEL, left)] * 3, (left, MODEL)]
    assert shapes["w1"] == (MODEL, INNER - DEAD)
    node = next(node for node in result.model.graph.node if "Attention" in node.op_type)
    counts = [one.i for one in node.attribute if "num_heads" in one.name]
    assert counts == [HEADS // 2, GROUPS]
    assert not any(helper.get_attribute_value(one) == HEADS for one in node.attribute)


def test_zeros_of_keys_and_values_are_put_back_in_front_of_the_cache() -> None:
    """A group of heads of which the projections make zeros: they lose them, and a cache holds all groups."""
    model = block("standard")
    for tensor in model.graph.initializer:
        if tensor.name in ("wk", "wv"):
            values = numpy_helper.to_array(tensor).copy()
            values[:, :WIDTH] = 0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    result = upscale_onnx.compile(model, prefer="size")
    assert result.report.verification is not None
    assert result.report.verification.equal
    shapes = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    assert shapes["wk"] == shapes["wv"] == (MODEL, (GROUPS - 1) * WIDTH)
    assert list(result.model.graph.output) == list(model.graph.output)
