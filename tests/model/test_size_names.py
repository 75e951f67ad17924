"""Names of sizes that shape inference makes up: those of equal sizes are one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from upscale_onnx.model import infer_shapes
from upscale_onnx.model.size_products import product
from upscale_onnx.types import Dims

_SIZES = "s = Shape(x) b = Gather(s, zero) t = Gather(s, one) bv = Unsqueeze(b, none) tv = Unsqueeze(t, none) "


def dims_of(body: str, *names: str) -> list[Dims]:
    text = (
        f"g (float[b,t,16] x, float[b,t,16] z, float[d,4] w) => (float[A,B,C] y) {{ {_SIZES} {body} y = Identity(x) }}"
    )
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {text}')
    constants = {"zero": 0, "one": 1, "none": [0], "first": [1], "minus": [-1], "four": [4], "wide": [1, 4]}
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(a, np.int64), n) for n, a in constants.items() if n in used
    )
    shapes = infer_shapes(model)
    return [shapes[name].dims for name in names]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("r = Range(zero, t, one)", ("t",)),
        ("n = Range(zero, t, one) u = Unsqueeze(n, none) v = Unsqueeze(n, first) r = Add(u, v)", ("t", "t")),
        ("n = Range(zero, t, one) c = Concat<axis=0>(bv, tv) r = Expand(n, c)", ("b", "t")),
        ("n = Range(zero, t, one) m = Range(zero, t, one) r = Mul(n, m)", ("t",)),
        ("c = Concat<axis=0>(bv, tv, minus, four) r = Reshape(x, c)", ("b", "t", 4, 4)),
        ("k = ReduceSum(x, none) c = Concat<axis=0>(bv, first, first) r = Tile(k, c)", ("b", "t", 16)),
        ("c = Concat<axis=0>(bv, tv, four) r = Resize(x, , , c)", ("b", "t", 4)),
        ("o = ReduceSum<keepdims=0>(x, minus) p = ReduceSum<keepdims=0>(z, minus) r = Add(o, p)", ("b", "t")),
        ("k = Transpose<perm=[0,2,1]>(x) r = MatMul(z, k)", ("b", "t", "t")),
    ],
)
def test_sizes_that_follow_from_others(body: str, expected: Dims) -> None:
    assert dims_of(body, "r") == [expected]


@pytest.mark.parametrize(
    "body",
    [
        "r = Range(one, t, one)",
        "m = Range(zero, t, one) i = NonZero(m) r = Squeeze(i, none)",
        "r = Slice(x, none, four, first)",
        "c = Concat<axis=0>(bv, tv, first) r = Tile(x, c)",
    ],
)
def test_sizes_that_do_not(body: str) -> None:
    (found,) = dims_of(body, "r")
    assert "t" not in found


def test_what_is_contracted_has_one_size() -> None:
    body = "m = Range(zero, t, one) i = NonZero(m) g = Cast<to=1>(i) r = MatMul(g, w)"
    assert dims_of(body, "g", "r") == [(1, "d"), (1, 4)]


def test_what_is_joined_has_one_size_beside_the_axis() -> None:
    body = "m = Range(zero, t, one) i = NonZero(m) g = Cast<to=1>(i) k = Transpose<perm=[1,0]>(w) "
    assert dims_of(body + "r = Concat<axis=0>(g, k)", "g", "r") == [(1, "d"), (5, "d")]
    # Four times a size that is not known is four times another one.
    wide = "g4 = Tile(g, wide) k4 = Tile(k, wide) r = Concat<axis=-2>(g4, k4)"
    assert dims_of(body + wide, "g", "r") == [(1, "d"), (5, "4·d")]


def test_names_in_products_keep_what_they_stand_for() -> None:
    """Inference runs several times. It counts its names anew each time, and fewer of them once more sizes are known."""
    four = "c = Concat<axis=0>(bv, tv, minus, four) e = Reshape(x, c) f = Reshape(z, c) a = Add(e, f) "
    size = "i = NonZero(a) si = Shape(i) ni = Gather(si, one) nv = Unsqueeze(ni, none) nv4 = Mul(nv, four) "
    found, tiled, flat = dims_of(
        four + size + "d = Concat<axis=0>(first, nv4) g = Tile(i, wide) r = Reshape(g, d)", "i", "g", "r"
    )
    assert tiled[1] == flat[1] == product((found[1], 4))
