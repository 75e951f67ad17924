"""Attention with heads merged into a dynamic batch, as exporters of scaled_dot_product_attention write it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.channels.compiled import Compiled, compiled
from tests.channels.engine import Engine
from upscale_onnx.types import Array

HEADS, WIDTH, MODEL = 4, 8, 16
INNER = HEADS * WIDTH
WEIGHTS = ("wq", "wk", "wv", "wo")

_SPLIT = "".join(
    f"m{part} = MatMul(x, w{part}) r{part} = Reshape(m{part}, split) t{part} = Transpose<perm=[0,2,1,3]>(r{part}) "
    for part in "qkv"
)
_JOIN = "ot = Transpose<perm=[0,2,1,3]>(o) or = Reshape(ot, joined) y = MatMul(or, wo)"
_SOFTMAX = "masked = Where(mask, low, qk) p = Softmax(masked) nan = IsNaN(p) g = Where(nan, zero, p) "

# How keys are transposed: their batch and their heads are one axis meanwhile. The shapes are computed from Shape nodes.
_KEYS = (
    "s = Shape(tk) d = Slice(s, n1, large) n = Slice(s, n2, n1) lead = Slice(s, least, n2) "
    "merge = Concat<axis=0>(n1, n, d) back = Concat<axis=0>(lead, d, n) "
    "km = Reshape(tk, merge) kt = Transpose<perm=[0,2,1]>(km) k4 = Reshape(kt, back) qk = MatMul(tq, k4) "
)
# All of the attention runs with batch and heads as one axis.
_ALL = (
    "s = Shape(mq) b = Slice(s, z, n1one) n = Slice(s, n1one, two) "
    "merge = Concat<axis=0>(n1, n, width) again = Concat<axis=0>(b, count, n, width) "
    "qm = Reshape(tq, merge) km = Reshape(tk, merge) vm = Reshape(tv, merge) "
    "kt = Transpose<perm=[0,2,1]>(km) qk = MatMul(qm, kt) " + _SOFTMAX + "om = MatMul(g, vm) o = Reshape(om, again) "
)
# The batch is the second axis, and heads are split off together with it.
_SECOND = (
    "s = Shape(x) n = Slice(s, z, n1one) b = Slice(s, n1one, two) bh = Mul(b, count) "
    "both = Concat<axis=0>(n, bh, width) "
    + "".join(
        f"m{part} = MatMul(x, w{part}) r{part} = Reshape(m{part}, both) t{part} = Transpose<perm=[1,0,2]>(r{part}) "
        for part in "qkv"
    )
    + "kt = Transpose<perm=[0,2,1]>(tk) qk = MatMul(tq, kt) "
    + _SOFTMAX
    + "om = MatMul(g, tv) ot = Transpose<perm=[1,0,2]>(om) flat = Concat<axis=0>(n, b, n1) or = Reshape(ot, flat) "
    + "y = MatMul(or, wo)"
)
FORMS = {
    "keys": _SPLIT + _KEYS + _SOFTMAX + "o = MatMul(g, tv) " + _JOIN,
    "all": _SPLIT + _ALL + _JOIN,
    "second axis": _SECOND,
    "second axis, left open": _SECOND.replace("(n, bh, width)", "(n, n1, width)"),
}
_VECTORS = {
    "split": [0, 0, HEADS, WIDTH],
    "joined": [0, 0, INNER],
    "width": [WIDTH],
    "count": [HEADS],
    "z": [0],
    "n1one": [1],
    "two": [2],
    "n1": [-1],
    "n2": [-2],
    "large": [2**63 - 1],
    "least": [-(2**63)],
}


def attention(form: str, weights: dict[str, Array], text: str = "") -> onnx.ModelProto:
    """Attention over `x`, of which `mask` says what is not seen. text: nodes in place of those of the form."""
    graph = f"g (float[b,t,{MODEL}] x, bool[t,t] mask) => (float[b,t,{MODEL}] y) {{ {text or FORMS[form]} }}"
    if form.startswith("second axis"):
        graph = graph.replace("[b,t,", "[t,b,")
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {graph}')
    constants = {name: np.asarray(values, np.int64) for name, values in _VECTORS.items()} | weights
    constants |= {"zero": np.zeros((), np.float32), "low": np.asarray(-np.inf, np.float32)}
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items() if n in used)
    return model


def random_weights(rng: np.random.Generator) -> dict[str, Array]:
    shapes = dict(zip(WEIGHTS, [(MODEL, INNER)] * 3 + [(INNER, MODEL)], strict=True))
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def sizes_left(result: Compiled) -> list[int]:
    """Elements of the four weights, which may have new names."""
    sizes = result.weight_sizes()
    return [next(s for name, s in sizes.items() if name == old or name.startswith(f"{old}_")) for old in WEIGHTS]


def assert_same(model: onnx.ModelProto, small: onnx.ModelProto, rng: np.random.Generator) -> None:
    """The results are equal for several batches and lengths, with rows that see nothing."""
    second = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "t"
    engines = Engine(model), Engine(small)
    for batch, length in ((1, 3), (2, 5), (3, 1)):
        mask = rng.random((length, length)) < 0.4
        mask[0] = True
        shape = (length, batch, MODEL) if second else (batch, length, MODEL)
        feeds = {"x": rng.normal(size=shape).astype(np.float32), "mask": mask}
        expected, actual = (engine.run(feeds)[0] for engine in engines)
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_head_leaves(form: str) -> None:
    rng = np.random.default_rng(1)
    weights = random_weights(rng)
    weights["wo"][WIDTH : 2 * WIDTH] = 0
    model = attention(form, weights)
    result = compiled(model)
    assert sizes_left(result) == [(HEADS - 1) * WIDTH * MODEL] * 4
    assert_same(model, result.model, rng)


# A slope for each head is added to all scores, and the batch is computed from the size of the merged axis.
_SLOPES = (
    "lv = ReduceMean<keepdims=0>(x, n1) lu = Unsqueeze(lv, n1one) lm = Mul(slopes, lu) "
    "bh = Mul(b, count) one = Concat<axis=0>(bh, n1one, n) lr = Reshape(lm, one) scores = Add(qk, lr) "
)
_SLOPED = (
    FORMS["all"]
    .replace(_SOFTMAX, _SLOPES + _SOFTMAX.replace("qk)", "scores)"))
    .replace("again = Concat<axis=0>(b, count, n, width) ", "")
    .replace("om = MatMul(g, vm) ", "om = MatMul(g, vm) so = Shape(om) ho = Slice(so, z, n1one) bo = Div(ho, count) "
             "again = Concat<axis=0>(bo, count, n, width) ")
)  # fmt: skip


@pytest.mark.parametrize("gone", [[1], [0, 3], [0, 1, 2, 3]])
def test_heads_with_slopes_leave(gone: list[int]) -> None:
    rng = np.random.default_rng(3)
    weights = random_weights(rng)
    slopes = rng.normal(size=(HEADS, 1)).astype(np.float32)
    for head in gone:
        weights["wo"][head * WIDTH : (head + 1) * WIDTH] = 0
    model = attention("all", weights | {"slopes": slopes}, _SLOPED)
    result = compiled(model)
    left = HEADS - len(gone)
    assert not left or sizes_left(result) == [left * WIDTH * MODEL] * 4
    assert_same(model, result.model, rng)


def test_features_of_values_leave_behind_a_size_that_is_read() -> None:
    rng = np.random.default_rng(4)
    weights = random_weights(rng)
    for head in range(HEADS):
        weights["wv"][:, head * WIDTH + (head + np.arange(3)) % WIDTH] = 0
    model = attention("all", weights | {"slopes": np.ones((HEADS, 1), np.float32)}, _SLOPED)
    result = compiled(model)
    assert sizes_left(result)[2:] == [HEADS * (WIDTH - 3) * MODEL] * 2
    assert_same(model, result.model, rng)


@pytest.mark.parametrize("form", FORMS)
def test_features_leave_in_each_head_by_itself(form: str) -> None:
    rng = np.random.default_rng(2)
    weights = random_weights(rng)
    for head in range(HEADS):
        weights["wq"][:, head * WIDTH + head] = 0
        weights["wv"][:, head * WIDTH + 7 - head] = 0
    model = attention(form, weights)
    result = compiled(model)
    assert sizes_left(result) == [HEADS * (WIDTH - 1) * MODEL] * 4
    assert_same(model, result.model, rng)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(4))
def test_random_masks_compute_the_same(form: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = random_weights(rng)
    for name, array in weights.items():
        gone = rng.random(INNER) < 0.5
        heads = np.repeat(rng.random(HEADS) < 0.3, WIDTH)
        array[gone | heads if name == "wo" else np.s_[:, gone | heads]] = 0
    model = attention(form, weights)
    assert_same(model, compiled(model).model, rng)


def test_an_operand_for_all_heads_and_batches_keeps_them() -> None:
    rng = np.random.default_rng(3)
    weights = random_weights(rng)
    weights["wo"][WIDTH : 2 * WIDTH] = 0
    text = FORMS["all"].replace("qk = MatMul(qm, kt)", "qa = MatMul(qm, kt) qk = Add(qa, shift)")
    model = attention("all", weights, text)
    model.graph.input.append(onnx.helper.make_tensor_value_info("shift", 1, ["bh", 1, 1]))
    result = compiled(model)
    feeds = {"x": rng.normal(size=(2, 3, MODEL)).astype(np.float32), "mask": np.zeros((3, 3), bool)}
    feeds["shift"] = rng.normal(size=(2 * HEADS, 1, 1)).astype(np.float32)
    expected, actual = (Engine(each).run(feeds)[0] for each in (model, result.model))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_a_constant_for_all_heads_keeps_the_same_features_of_each() -> None:
    rng = np.random.default_rng(4)
    weights = random_weights(rng)
    for head in range(HEADS):
        weights["wq"][:, [head * WIDTH + head, head * WIDTH + 5]] = 0
    text = FORMS["all"].replace("qk = MatMul(qm, kt)", "qa = Mul(qm, row) qk = MatMul(qa, kt)")
    model = attention("all", weights, text)
    model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=WIDTH).astype(np.float32), "row"))
    result = compiled(model)
    assert_same(model, result.model, rng)
    assert sizes_left(result)[0] == HEADS * (WIDTH - 1) * MODEL


def test_features_leave_beside_a_bias_of_which_nothing_is_known() -> None:
    """A bias for each head of each element of the batch, as WavLM gates it: heads stay, and their features leave."""
    rng = np.random.default_rng(3)
    weights = random_weights(rng)
    for head in range(HEADS):
        weights["wq"][:, head * WIDTH + head] = 0
        weights["wv"][:, head * WIDTH + 7 - head] = 0
    weights["wo"][WIDTH : 2 * WIDTH] = 0
    text = FORMS["all"].replace("qk = MatMul(qm, kt)", "raw = MatMul(qm, kt) qk = Add(raw, bias)")
    model = attention("all", weights, text)
    bias = onnx.helper.make_tensor_value_info("bias", onnx.TensorProto.FLOAT, ["bh", "t", "t"])
    model.graph.input.append(bias)
    result = compiled(model)
    assert sizes_left(result) == [HEADS * (WIDTH - 1) * MODEL] * 4
    feeds = {
        "x": rng.normal(size=(2, 5, MODEL)).astype(np.float32),
        "mask": np.zeros((5, 5), bool),
        "bias": rng.normal(size=(2 * HEADS, 5, 5)).astype(np.float32),
    }
    expected, actual = (Engine(each).run(feeds)[0] for each in (model, result.model))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
