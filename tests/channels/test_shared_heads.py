"""Attention whose heads share one set of keys and values."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.channels.compiled import Compiled, compiled
from tests.channels.engine import Engine
from upscale_onnx.types import Array

HEADS, WIDTH, MODEL = 3, 4, 6
# Keys and values are broadcast by MatMul, or expanded to all heads before, or in shapes of one axis more.
FORMS = {
    "broadcast": "ek = Identity(tk) ev = Identity(tv) ",
    "expanded": "ek = Expand(tk, all) ev = Expand(tv, all) ",
    "expanded by an axis": "".join(
        f"u{part} = Unsqueeze(t{part}, two) w{part}5 = Expand(u{part}, all5) e{part} = Reshape(w{part}5, flat) "
        for part in "kv"
    ),
}


def attention(form: str, weights: dict[str, Array]) -> onnx.ModelProto:
    text = "mq = MatMul(x, wq) rq = Reshape(mq, split) tq = Transpose<perm=[0,2,1,3]>(rq) "
    for part in "kv":
        text += f"m{part} = MatMul(x, w{part}) t{part} = Unsqueeze(m{part}, one) "
    text += FORMS[form] + "kt = Transpose<perm=[0,1,3,2]>(ek) qk = MatMul(tq, kt) p = Softmax(qk) o = MatMul(p, ev) "
    text += "ot = Transpose<perm=[0,2,1,3]>(o) or = Reshape(ot, joined) y = MatMul(or, wo)"
    graph = f"g (float[b,t,{MODEL}] x) => (float[b,t,{MODEL}] y) {{ {text} }}"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {graph}')
    vectors = {"split": [0, 0, HEADS, WIDTH], "joined": [0, 0, HEADS * WIDTH], "one": [1], "two": [2]}
    vectors |= {"all": [1, HEADS, 1, 1], "all5": [1, 1, HEADS, 1, 1], "flat": [0, HEADS, -1, WIDTH]}
    constants = {name: np.asarray(values, np.int64) for name, values in vectors.items()} | weights
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items() if n in used)
    return model


def random_weights(rng: np.random.Generator) -> dict[str, Array]:
    shapes = {"wq": (MODEL, HEADS * WIDTH), "wk": (MODEL, WIDTH), "wv": (MODEL, WIDTH), "wo": (HEADS * WIDTH, MODEL)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def checked(form: str, weights: dict[str, Array], rng: np.random.Generator) -> Compiled:
    """The compiled model, which computes the same."""
    model = attention(form, weights)
    result = compiled(model)
    for shape in ((1, 3, MODEL), (2, 5, MODEL)):
        feeds = {"x": rng.normal(size=shape).astype(np.float32)}
        expected, actual = (Engine(each).run(feeds)[0] for each in (model, result.model))
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    return result


@pytest.mark.parametrize("form", FORMS)
def test_features_leave_in_all_heads(form: str) -> None:
    rng = np.random.default_rng(1)
    weights = random_weights(rng)
    weights["wk"][:, 1] = 0
    weights["wv"][:, [0, 2]] = 0
    sizes = checked(form, weights, rng).weight_sizes()
    left = {name.split("_")[0]: size for name, size in sizes.items()}
    assert [left[name] for name in ("wq", "wk", "wv", "wo")] == [54, 18, 12, 36]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(5))
def test_random_masks_compute_the_same(form: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = random_weights(rng)
    for name, array in weights.items():
        size = array.shape[0 if name == "wo" else 1]
        gone = rng.random(size) < 0.4
        if name in ("wq", "wo"):
            gone |= np.repeat(rng.random(HEADS) < 0.3, WIDTH)
        array[gone if name == "wo" else np.s_[:, gone]] = 0
    checked(form, weights, rng)
