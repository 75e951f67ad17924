"""Attention as one operator between projections: what leaves with dead heads and features, to the last weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.channels.compiled import Compiled, compiled
from tests.channels.engine import Engine
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.types import Array

MODEL, HEADS, GROUPS, WIDTH = 12, 4, 2, 8
INNER, SHARED = HEADS * WIDTH, GROUPS * WIDTH
OPSETS = '"" : 23, "com.microsoft" : 1'
APART = "".join(f"r{p} = Reshape(m{p}, split{p}) t{p} = Transpose<perm=[0,2,1,3]>(r{p}) " for p in "qkv")
JOINED = "or = Transpose<perm=[0,2,1,3]>(o) z = Reshape(or, joined) "
TURNED = "".join(f"t{p} = com.microsoft.RotaryEmbedding(m{p}, places, cos, sin) " for p in "qk")
# How queries, keys and values become a result, and how many groups of keys and values there are.
FORMS = {
    "standard": (f"{APART} o = Attention(tq, tk, tv) {JOINED}", HEADS),
    "standard, groups": (f"{APART} o = Attention<is_causal=1>(tq, tk, tv) {JOINED}", GROUPS),
    "merged": (f"z = Attention<q_num_heads={HEADS}, kv_num_heads={HEADS}>(mq, mk, mv)", HEADS),
    "merged, groups": (f"z = Attention<q_num_heads={HEADS}, kv_num_heads={GROUPS}>(mq, mk, mv)", GROUPS),
    "multi-head": (f"z = com.microsoft.MultiHeadAttention<num_heads={HEADS}>(mq, mk, mv)", HEADS),
    "rotary": (f"{TURNED} z = com.microsoft.MultiHeadAttention<num_heads={HEADS}>(tq, tk, mv)", HEADS),
    "grouped": (
        f"z = com.microsoft.GroupQueryAttention<num_heads={HEADS}, kv_num_heads={GROUPS}>(mq, mk, mv, , , last, total)",
        GROUPS,
    ),
    "packed": (f"z = com.microsoft.Attention<num_heads={HEADS}>(x, wqkv, bqkv)", HEADS),
}
FREE = [form for form in FORMS if form != "grouped"]  # features may leave


@dataclass(frozen=True, eq=False)
class Weights:
    """q, k, v, o: the projections. groups: of keys and values."""

    q: Array
    k: Array
    v: Array
    o: Array
    groups: int

    @classmethod
    def random(cls, groups: int) -> Weights:
        rng = np.random.default_rng(1)
        shapes = ((MODEL, INNER), *[(MODEL, groups * WIDTH)] * 2, (INNER, MODEL))
        return cls(*(rng.normal(size=shape).astype(np.float32) for shape in shapes), groups)


def model_of(form: str, weights: Weights) -> onnx.ModelProto:
    text = "".join(f"m{p} = MatMul(x, w{p}) " for p in "qkv") + f"{FORMS[form][0]} y = MatMul(z, wo)"
    if form == "packed":
        text = text[text.index("z = ") :]
    heads = {"q": HEADS, "k": weights.groups, "v": weights.groups}
    held: dict[str, Array] = {f"split{p}": np.asarray([0, 0, count, WIDTH]) for p, count in heads.items()}
    held |= {"joined": np.asarray([0, 0, INNER]), "places": np.tile(np.arange(5), (2, 1))}
    held |= {"last": np.full(2, 4, np.int32), "total": np.asarray(5, np.int32)}
    held |= {"cos": np.cos(np.arange(36.0)).reshape(9, 4), "sin": np.sin(np.arange(36.0)).reshape(9, 4)}
    held |= {"wq": weights.q, "wk": weights.k, "wv": weights.v, "wo": weights.o}
    held |= {"wqkv": np.hstack((weights.q, weights.k, weights.v))}
    held |= {"bqkv": np.zeros(held["wqkv"].shape[1])}
    held = {name: array.astype(np.float32) if array.dtype == np.float64 else array for name, array in held.items()}
    graph = f"g (float[2,5,{MODEL}] x) => (float[2,5,{MODEL}] y) {{ {text} }}"
    model = onnx.parser.parse_model(f"<ir_version: 10, opset_import: [{OPSETS}]> {graph}")
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in held.items() if n in used)
    return model


def narrowed(form: str, weights: Weights) -> tuple[Compiled, list[tuple[int, ...]]]:
    """The compiled model, shown equal, and the shapes of its projections."""
    model = model_of(form, weights)
    result = compiled(model)
    feed = {"x": np.random.default_rng(4).normal(size=(2, 5, MODEL)).astype(np.float32)}
    expected, given = Engine(model).run(feed)[0], Engine(result.model).run(feed)[0]
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    names = ["wqkv", "wo"] if form == "packed" else ["wq", "wk", "wv", "wo"]
    return result, [next(shapes[name] for name in shapes if name.split("_")[0] == wanted) for wanted in names]


def attributes(result: Compiled) -> dict[str, object]:
    nodes = [node for node in result.model.graph.node if "Attention" in node.op_type]
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in nodes[0].attribute}


def projections(q: int, k: int, v: int, o: int, form: str) -> list[tuple[int, ...]]:
    return [(MODEL, q + k + v), (o, MODEL)] if form == "packed" else [(MODEL, q), (MODEL, k), (MODEL, v), (o, MODEL)]


@pytest.mark.parametrize("form", FORMS)
def test_a_dead_group_leaves_with_its_heads(form: str) -> None:
    groups = FORMS[form][1]
    weights, per = Weights.random(groups), HEADS // groups
    weights.o[WIDTH * per : 2 * WIDTH * per] = 0
    result, shapes = narrowed(form, weights)
    heads = HEADS - per
    assert shapes == projections(*(WIDTH * n for n in (heads, groups - 1, groups - 1, heads)), form)
    counts = {value for name, value in attributes(result).items() if "num_heads" in name}
    assert counts <= {heads, groups - 1}


@pytest.mark.parametrize("form", ["standard, groups", "merged, groups", "grouped"])
def test_groups_lose_as_many_heads_each(form: str) -> None:
    weights = Weights.random(GROUPS)
    for head in (0, 3):
        weights.o[WIDTH * head : WIDTH * (head + 1)] = 0
    _, shapes = narrowed(form, weights)
    assert shapes == projections(2 * WIDTH, SHARED, SHARED, 2 * WIDTH, form)


@pytest.mark.parametrize("form", ["standard, groups", "merged, groups", "grouped"])
def test_a_head_stays_where_other_groups_keep_theirs(form: str) -> None:
    weights = Weights.random(GROUPS)
    weights.o[:WIDTH] = 0
    _, shapes = narrowed(form, weights)
    assert shapes == projections(INNER, SHARED, SHARED, INNER, form)


@pytest.mark.parametrize("form", FREE)
def test_features_of_queries_and_keys_leave(form: str) -> None:
    groups = FORMS[form][1]
    weights = Weights.random(groups)
    # Zeros of queries, keys, or both, other ones in each group; pairs of halves where features are rotated.
    for group in range(groups):
        gone = [1, 2, 5, 6] if form == "rotary" else [group, group + 1, 7]
        weights.k[:, [group * WIDTH + feature for feature in gone]] = 0
    result, shapes = narrowed(form, weights)
    left = WIDTH - (4 if form == "rotary" else 3)
    assert shapes == projections(HEADS * left, groups * left, groups * WIDTH, INNER, form)
    assert attributes(result)["scale"] == pytest.approx(WIDTH**-0.5)


@pytest.mark.parametrize("form", FREE)
def test_features_of_values_leave(form: str) -> None:
    groups = FORMS[form][1]
    weights, per = Weights.random(groups), HEADS // groups
    for group in range(groups):
        weights.v[:, [group * WIDTH + 1]] = 0
        for head in range(group * per, (group + 1) * per):
            weights.o[[head * WIDTH + feature for feature in (4, 6)]] = 0
    result, shapes = narrowed(form, weights)
    left = WIDTH - 3
    assert shapes == projections(INNER, groups * WIDTH, groups * left, HEADS * left, form)
    assert "scale" not in attributes(result)


def test_features_of_grouped_queries_stay() -> None:
    """The operator takes head sizes in eights, the same for values."""
    weights = Weights.random(GROUPS)
    weights.k[:, [1, 9]] = 0
    weights.v[:, [2, 10]] = 0
    _, shapes = narrowed("grouped", weights)
    assert shapes == projections(INNER, SHARED, SHARED, INNER, "grouped")


@pytest.mark.parametrize("form", ["standard", "multi-head", "packed"])
def test_a_head_whose_queries_are_zero_stays(form: str) -> None:
    """It weighs all values alike."""
    weights = Weights.random(HEADS)
    weights.q[:, :WIDTH] = 0
    _, shapes = narrowed(form, weights)
    assert shapes == projections(INNER, INNER, INNER, INNER, form)


def unstacked(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with stacked parts taken apart, which onnxruntime has no kernel for on a CPU."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    node = next(node for node in result.graph.node if node.op_type == "MultiHeadAttention")
    stack, parts = node.input[-1], ["sq", "sk", "sv"][len(node.input) - 1 :]
    nodes = [helper.make_node("Split", [stack], [f"{part}5" for part in parts], axis=3, num_outputs=len(parts))]
    nodes += [helper.make_node("Reshape", [f"{part}5", "flat"], [part]) for part in parts]
    kept = list(node.input[:-1])
    node.input[:] = [*kept, *parts]
    place = list(result.graph.node).index(node)
    ordered = [*result.graph.node[:place], *nodes, *result.graph.node[place:]]
    del result.graph.node[:]
    result.graph.node.extend(ordered)
    result.graph.initializer.append(numpy_helper.from_array(np.asarray([0, 0, -1]), "flat"))
    return result


@pytest.mark.parametrize("count", [2, 3])
def test_stacked_parts_keep_as_many_features(count: int) -> None:
    """Queries, keys and values, or the last two of them, in one value `(batch, length, heads, parts, features)`."""
    rng = np.random.default_rng(5)
    queries = "" if count == 3 else "m = MatMul(x, wq) "
    given = "s" if count == 3 else "m, s"
    text = f"{queries}p = MatMul(x, ws) s = Reshape(p, shape) "
    text += f"z = com.microsoft.MultiHeadAttention<num_heads={HEADS}>({given}) y = MatMul(z, wo)"
    graph = f"g (float[2,5,{MODEL}] x) => (float[2,5,{MODEL}] y) {{ {text} }}"
    model = onnx.parser.parse_model(f"<ir_version: 10, opset_import: [{OPSETS}]> {graph}")
    stack, out = rng.normal(size=(MODEL, HEADS, count, WIDTH)), rng.normal(size=(HEADS, WIDTH, MODEL))
    stack[:, :, -2, [0, 3]] = 0  # two features of keys, three of values: two leave
    out[:, [1, 5, 6]] = 0
    out[2] = 0
    held = {"ws": stack.reshape(MODEL, -1), "wo": out.reshape(INNER, MODEL), "wq": rng.normal(size=(MODEL, INNER))}
    used = {name for node in model.graph.node for name in node.input}
    weights = [numpy_helper.from_array(a.astype(np.float32), name) for name, a in held.items() if name in used]
    shape = numpy_helper.from_array(np.asarray([0, 0, HEADS, count, WIDTH]), "shape")
    model.graph.initializer.extend([*weights, shape])
    result = compiled(model)
    feed = {"x": rng.normal(size=(2, 5, MODEL)).astype(np.float32)}
    expected, given_back = (Engine(unstacked(one)).run(feed)[0] for one in (model, result.model))
    np.testing.assert_allclose(given_back, expected, rtol=1e-4, atol=1e-4)
    left = (HEADS - 1) * (WIDTH - 2)
    sizes = result.weight_sizes()
    assert next(size for name, size in sizes.items() if name.startswith("ws")) == MODEL * count * left
    assert next(size for name, size in sizes.items() if name.startswith("wo")) == MODEL * left
    assert attributes(result)["num_heads"] == HEADS - 1


def test_attributes_of_another_type_are_left_alone() -> None:
    model = model_of("multi-head", Weights.random(HEADS))
    node = next(node for node in model.graph.node if node.op_type == "MultiHeadAttention")
    node.attribute[0].CopyFrom(helper.make_attribute("num_heads", "four"))
    found = analyse(import_graph(model), infer_shapes(model))
    assert [refusal.op_type for refusal in found.refusals] == ["MultiHeadAttention"]


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
def test_quantised_attention_shrinks_alike(columns: bool, dynamic: bool) -> None:
    """With one scale or scales of columns; the input quantised by its range, or by constants."""
    rng = np.random.default_rng(6)
    weight = rng.integers(-50, 51, (MODEL, 3, HEADS, WIDTH)).astype(np.int8)
    bias = rng.normal(size=(3, HEADS, WIDTH)).astype(np.float32)
    for part, features in ((1, [0, 3]), (2, [1, 5, 6])):
        weight[:, part, :, features], bias[part][:, features] = 0, 0
    out = rng.normal(size=(HEADS, WIDTH, MODEL)).astype(np.float32)
    out[2] = 0
    count = 3 * INNER if columns else 1
    held: dict[str, Array] = {"w": weight.reshape(MODEL, -1), "b": bias.ravel(), "wo": out.reshape(INNER, MODEL)}
    held |= {"ws": rng.uniform(0.01, 0.02, count).astype(np.float32), "wz": np.zeros(count, np.int8)}
    held |= {"xs": np.asarray(0.03, np.float32), "xz": np.asarray(120, np.uint8)}
    quantiser = "q, s, z = DynamicQuantizeLinear(x)" if dynamic else "q = QuantizeLinear(x, xs, xz)"
    scale, point = ("s", "z") if dynamic else ("xs", "xz")
    attention = f"com.microsoft.QAttention<num_heads={HEADS}>(q, w, b, {scale}, ws, , {point}, wz)"
    graph = f"g (float[2,5,{MODEL}] x) => (float[2,5,{MODEL}] y) {{ {quantiser} a = {attention} y = MatMul(a, wo) }}"
    model = onnx.parser.parse_model(f"<ir_version: 10, opset_import: [{OPSETS}]> {graph}")
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in held.items() if name in used)
    result = compiled(model)
    feed = {"x": rng.normal(size=(2, 5, MODEL)).astype(np.float32)}
    expected, given = Engine(model).run(feed)[0], Engine(result.model).run(feed)[0]
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)
    shapes = {tensor.name.split("_")[0]: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    heads = HEADS - 1
    # The operator has one size for all parts.
    assert shapes["w"] == (MODEL, 3 * heads * (WIDTH - 2))
    assert shapes["wo"] == (heads * (WIDTH - 2), MODEL)


def test_layers_that_share_a_mask_lose_heads_of_their_own() -> None:
    rng = np.random.default_rng(7)
    text = "m = MatMul(p, wm) mt = Transpose<perm=[0,3,1,2]>(m) "
    held: dict[str, Array] = {"wm": rng.normal(size=(3, HEADS))}
    for layer, source in (("a", "x"), ("b", "ya")):
        text += "".join(f"m{part}{layer} = MatMul({source}, w{part}{layer}) " for part in "qkv")
        text += f"z{layer} = com.microsoft.MultiHeadAttention<num_heads={HEADS}>"
        text += f"(mq{layer}, mk{layer}, mv{layer}, , , mt) y{layer} = MatMul(z{layer}, wo{layer}) "
        held |= {f"w{part}{layer}": rng.normal(size=(MODEL, INNER)) for part in "qkv"}
        held |= {f"wo{layer}": rng.normal(size=(INNER, MODEL))}
    held["woa"][:WIDTH] = 0
    held["wob"][2 * WIDTH :] = 0
    graph = f"g (float[2,5,{MODEL}] x, float[1,5,5,3] p) => (float[2,5,{MODEL}] yb) {{ {text} }}"
    model = onnx.parser.parse_model(f"<ir_version: 10, opset_import: [{OPSETS}]> {graph}")
    model.graph.initializer.extend(numpy_helper.from_array(a.astype(np.float32), name) for name, a in held.items())
    result = compiled(model)
    feed = {"x": rng.normal(size=(2, 5, MODEL)), "p": rng.normal(size=(1, 5, 5, 3))}
    feed = {name: array.astype(np.float32) for name, array in feed.items()}
    expected, given = Engine(model).run(feed)[0], Engine(result.model).run(feed)[0]
    np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-3)
    shapes = {tensor.name.split("_")[0]: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    assert (shapes["woa"], shapes["wob"]) == (((HEADS - 1) * WIDTH, MODEL), (2 * WIDTH, MODEL))


@pytest.mark.parametrize("form", ["standard", "multi-head"])
def test_constant_keys_are_named(form: str) -> None:
    model = model_of(form, Weights.random(HEADS))
    node = next(node for node in model.graph.node if "Attention" in node.op_type)
    shape = (2, 5, INNER) if form == "multi-head" else (2, HEADS, 5, WIDTH)
    node.input[1] = "keys"
    model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), "keys"))
    (refusal,) = analyse(import_graph(model), infer_shapes(model)).refusals
    assert refusal.detail == "input 1 is a constant"
