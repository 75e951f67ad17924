"""A table of biases, one column for each head, that several layers add to their scores."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from tests.channels.compiled import compiled
from tests.channels.engine import Engine

HEADS, WIDTH, MODEL = 4, 2, 8


def test_layers_lose_heads_each_for_itself() -> None:
    rng = np.random.default_rng(0)
    text = "g = Gather(table, places) t = Transpose<perm=[2,0,1]>(g) bias = Unsqueeze(t, zero) "
    constants = {"zero": [0], "split": [0, 0, HEADS, WIDTH], "joined": [0, 0, HEADS * WIDTH]}
    arrays = {name: np.asarray(values, np.int64) for name, values in constants.items()}
    arrays["table"] = rng.normal(size=(5, HEADS)).astype(np.float32)
    value = "x"
    for layer, gone in enumerate((0, 2)):
        for part in "qkv":
            name = f"w{part}{layer}"
            arrays[name] = rng.normal(size=(MODEL, HEADS * WIDTH)).astype(np.float32)
            text += f"m{part}{layer} = MatMul({value}, {name}) r{part}{layer} = Reshape(m{part}{layer}, split) "
        arrays[f"wo{layer}"] = rng.normal(size=(HEADS * WIDTH, MODEL)).astype(np.float32)
        arrays[f"wo{layer}"][gone * WIDTH : (gone + 1) * WIDTH] = 0
        q, k, v = (f"t{part}{layer}" for part in "qkv")
        text += f"{q} = Transpose<perm=[0,2,1,3]>(rq{layer}) {k} = Transpose<perm=[0,2,3,1]>(rk{layer}) "
        text += (
            f"{v} = Transpose<perm=[0,2,1,3]>(rv{layer}) s{layer} = MatMul({q}, {k}) b{layer} = Add(s{layer}, bias) "
        )
        text += f"p{layer} = Softmax(b{layer}) o{layer} = MatMul(p{layer}, {v}) "
        text += f"u{layer} = Transpose<perm=[0,2,1,3]>(o{layer}) j{layer} = Reshape(u{layer}, joined) "
        text += f"y{layer} = MatMul(j{layer}, wo{layer}) "
        value = f"y{layer}"
    graph = f"g (float[b,n,{MODEL}] x, int64[n,n] places) => (float[b,n,{MODEL}] {value}) {{ {text} }}"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {graph}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    result = compiled(model)
    feeds = {"x": rng.normal(size=(2, 3, MODEL)).astype(np.float32), "places": rng.integers(0, 5, (3, 3))}
    expected, actual = (Engine(each).run(feeds)[0] for each in (model, result.model))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    left = [size for name, size in result.weight_sizes().items() if name.startswith(("wq", "wk", "wv", "wo"))]
    assert left == [(HEADS - 1) * WIDTH * MODEL] * 8
