"""Attention as exporters write it, with batch and length that inference loses: dead heads and features leave."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.channels.compiled import Compiled, compiled
from tests.channels.engine import Engine
from upscale_onnx.types import Array

HEADS, WIDTH, MODEL = 4, 8, 16
INNER = HEADS * WIDTH


def attention(weights: dict[str, Array], back: int, rotary: bool, pairs: bool, table: str = "1,1,t") -> onnx.ModelProto:
    """Attention over `x`. The shape back from heads is computed from the mask's and ends in `back`. rotary: features
    are rotated by `cos` and `sin`. pairs: as interleaved pairs, not as halves. table: the leading axes of both."""
    text = "s = Shape(mask) lead = Slice(s, zero, two, zero) split = Concat<axis=0>(lead, heads) "
    for part in "qkv":
        text += f"m{part} = MatMul(x, w{part}) r{part} = Reshape(m{part}, split) "
        text += f"t{part} = Transpose<perm=[0,2,1,3]>(r{part}) "
    for part in "qk" if rotary else "":
        if pairs:
            text += f"a{part} = Slice(t{part}, zero, wide, last, two) b{part} = Slice(t{part}, one, wide, last, two) "
            text += f"n{part} = Neg(b{part}) ua{part} = Unsqueeze(a{part}, end) un{part} = Unsqueeze(n{part}, end) "
            text += f"c{part} = Concat<axis=-1>(un{part}, ua{part}) "
            text += f"h{part} = Reshape(c{part}, whole) "
        else:
            text += f"a{part} = Slice(t{part}, zero, half, last) b{part} = Slice(t{part}, half, wide, last) "
            text += f"n{part} = Neg(b{part}) h{part} = Concat<axis=-1>(n{part}, a{part}) "
        text += f"x{part} = Mul(t{part}, cos) y{part} = Mul(h{part}, sin) e{part} = Add(x{part}, y{part}) "
    q, k = ("eq", "ek") if rotary else ("tq", "tk")
    text += f"kt = Transpose<perm=[0,1,3,2]>({k}) qk = MatMul({q}, kt) sum = Add(qk, mask4) p = Softmax(sum) "
    text += "o = MatMul(p, tv) ot = Transpose<perm=[0,2,1,3]>(o) join = Concat<axis=0>(lead, joined) "
    text += "or = Reshape(ot, join) y = MatMul(or, wo)"
    inputs = f"float[b,s,{MODEL}] x, float[b,s] mask, float[1,1,t,t] mask4, float[{table},{WIDTH}] cos, "
    graph = f"g ({inputs} float[{table},{WIDTH}] sin) => (float[B,S,{MODEL}] y) {{ {text} }}"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {graph}')
    vectors = {"zero": [0], "one": [1], "two": [2], "half": [WIDTH // 2], "wide": [WIDTH], "last": [-1], "end": [4]}
    vectors |= {"heads": [HEADS, WIDTH], "joined": [back], "whole": [0, 0, -1, WIDTH]}
    constants = {name: np.asarray(values, np.int64) for name, values in vectors.items()} | weights
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items() if n in used)
    return model


def random_weights(rng: np.random.Generator) -> dict[str, Array]:
    shapes = {"wq": (MODEL, INNER), "wk": (MODEL, INNER), "wv": (MODEL, INNER), "wo": (INNER, MODEL)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def weight_sizes(result: Compiled, *names: str) -> list[int]:
    """Elements of these weights, which may have new names."""
    sizes = result.weight_sizes()
    return [next(size for name, size in sizes.items() if name == old or name.startswith(f"{old}_")) for old in names]


def assert_same(model: onnx.ModelProto, small: onnx.ModelProto, rng: np.random.Generator) -> None:
    for batch, length in ((1, 3), (2, 5)):
        feeds = {"x": rng.normal(size=(batch, length, MODEL)), "mask": np.ones((batch, length))}
        feeds |= {"mask4": rng.normal(size=(1, 1, length, length))}
        read = {value.name: len(value.type.tensor_type.shape.dim) for value in model.graph.input}
        tables = {name: (1,) * (read.get(name, 4) - 2) for name in ("cos", "sin")}
        feeds |= {name: rng.normal(size=(*ones, length, WIDTH)) for name, ones in tables.items()}
        given = {name: array.astype(np.float32) for name, array in feeds.items() if name in read}
        expected, got = Engine(model).run(given)[0], Engine(small).run(given)[0]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("back", [-1, INNER])
@pytest.mark.parametrize("rotary", [False, True])
def test_a_dead_head_leaves(back: int, rotary: bool) -> None:
    rng = np.random.default_rng(1)
    weights = random_weights(rng)
    weights["wo"][WIDTH : 2 * WIDTH] = 0
    model = attention(weights, back, rotary, False)
    result = compiled(model)
    assert_same(model, result.model, rng)
    left = (HEADS - 1) * WIDTH * MODEL
    assert weight_sizes(result, *weights) == [left] * 4


def test_features_leave_in_each_head_by_itself() -> None:
    rng = np.random.default_rng(2)
    weights = random_weights(rng)
    for head in range(HEADS):
        weights["wq"][:, head * WIDTH + head] = 0
        weights["wv"][:, head * WIDTH + 7 - head] = 0
    model = attention(weights, -1, False, False)
    result = compiled(model)
    assert_same(model, result.model, rng)
    left = HEADS * (WIDTH - 1) * MODEL
    assert weight_sizes(result, *weights) == [left] * 4


def test_a_rotated_pair_leaves_with_its_cosine_and_sine() -> None:
    rng = np.random.default_rng(3)
    weights = random_weights(rng)
    for head in range(HEADS):
        weights["wq"][:, [head * WIDTH + 1, head * WIDTH + 1 + WIDTH // 2]] = 0
    model = attention(weights, -1, True, False)
    result = compiled(model)
    assert_same(model, result.model, rng)
    assert weight_sizes(result, "wq", "wk", "wv") == [HEADS * (WIDTH - 2) * MODEL] * 2 + [INNER * MODEL]


@pytest.mark.parametrize("table", ["1,1,t", "1,t", "t"])
@pytest.mark.parametrize("dead", [0, 1])
def test_pairs_leave_that_differ_from_head_to_head(table: str, dead: int) -> None:
    rng = np.random.default_rng(3)
    weights = random_weights(rng)
    weights["wo"][: dead * WIDTH] = 0
    for head, gone in enumerate(([0], [1], [2, 3], [3])):
        for feature in gone:
            weights["wk"][:, [head * WIDTH + feature, head * WIDTH + feature + WIDTH // 2]] = 0
    model = attention(weights, -1, True, False, table)
    result = compiled(model)
    assert_same(model, result.model, rng)
    # Three pairs of features are the most that a head keeps.
    assert weight_sizes(result, "wq", "wk") == [(HEADS - dead) * 6 * MODEL] * 2


def test_interleaved_pairs_compute_the_same() -> None:
    rng = np.random.default_rng(4)
    weights = random_weights(rng)
    weights["wo"][WIDTH : 2 * WIDTH] = 0
    for head in range(HEADS):
        weights["wq"][:, [head * WIDTH + 2, head * WIDTH + 3]] = 0
    model = attention(weights, -1, True, True)
    result = compiled(model)
    assert_same(model, result.model, rng)
    assert weight_sizes(result, "wo") == [(HEADS - 1) * WIDTH * MODEL]


@pytest.mark.parametrize("seed", range(4))
def test_random_masks_compute_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = random_weights(rng)
    for name, array in weights.items():
        gone = rng.random(INNER) < 0.5
        array[gone if name == "wo" else np.s_[:, gone]] = 0
    model = attention(weights, int(rng.choice([-1, INNER])), bool(seed % 2), False)
    assert_same(model, compiled(model).model, rng)


def test_a_graph_input_is_selected_where_channels_leave() -> None:
    rng = np.random.default_rng(5)
    first, second = (rng.integers(1, 4, shape).astype(np.float32) for shape in ((3, 6), (6, 2)))
    second[[1, 4]] = 0
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Add", ["a", "z"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", c]) for n, c in (("x", 3), ("z", 6))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 2])]
    constants = [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    result = compiled(model)
    assert weight_sizes(result, "first", "second") == [12, 8]
    feeds = {n: rng.integers(-3, 4, (2, c)).astype(np.float32) for n, c in (("x", 3), ("z", 6))}
    np.testing.assert_array_equal(Engine(result.model).run(feeds)[0], Engine(model).run(feeds)[0])
