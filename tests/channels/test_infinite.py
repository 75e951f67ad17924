"""NaN and infinity: zero times either is not zero, so nothing that may hold them is dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.channels.compiled import compiled
from tests.channels.engine import Engine
from upscale_onnx.types import Array

_NAN, _INF = float("nan"), float("inf")


def chain(
    weights: dict[str, Array], nodes: list[onnx.NodeProto], shape: tuple[int, ...], opset: int = 21
) -> onnx.ModelProto:
    """A model from `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def integers(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(-3, 4, shape).astype(np.float32)


def assert_same(model: onnx.ModelProto, align: int = 1) -> Array:
    """Outputs agree bit by bit, NaN included; returns them."""
    rng = np.random.default_rng(0)
    small = compiled(model, align).model
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": rng.integers(-3, 4, shape).astype(np.float32)}
    expected, given = Engine(model).run(feeds)[0], Engine(small).run(feeds)[0]
    np.testing.assert_array_equal(given, expected)
    return expected


@pytest.mark.parametrize("bad", [_NAN, _INF, -_INF])
@pytest.mark.parametrize("place", ["first weight", "first bias", "second weight", "second bias", "silent weight"])
@pytest.mark.parametrize("op", ["Conv", "Gemm"])
@pytest.mark.parametrize("align", [1, 4])
def test_weights_that_are_not_finite(bad: float, place: str, op: str, align: int) -> None:
    rng = np.random.default_rng(3)
    window = (1, 1) if op == "Conv" else ()
    first, second = integers(rng, 8, 3, *window), integers(rng, 5, 8, *window)
    b1, b2 = integers(rng, 8), integers(rng, 5)
    second[:, [1, 2, 6]] = 0  # nobody reads these
    first[[4, 5]] = 0  # these are constant
    b1[5] = 0
    {
        "first weight": first[2],
        "first bias": b1[2:3],
        "second weight": second[3, 0:1],
        "second bias": b2[2:3],
        "silent weight": second[1, 5:6],  # zero times infinity, from a channel that is always zero
    }[place][...] = bad
    attrs: dict[str, Any] = {} if op == "Conv" else {"transB": 1}
    nodes = [
        helper.make_node(op, ["x", "w1", "b1"], ["h"], **attrs),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node(op, ["r", "w2", "b2"], ["y"], **attrs),
    ]
    shape = (2, 3, 4, 4) if op == "Conv" else (4, 3)
    expected = assert_same(chain({"w1": first, "b1": b1, "w2": second, "b2": b2}, nodes, shape), align)
    assert not np.isfinite(expected).all() or (bad == -_INF and place.startswith("first"))


@pytest.mark.parametrize("constant", [_NAN, _INF])
@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_constants_that_are_not_finite(constant: float, op: str) -> None:
    rng = np.random.default_rng(4)
    shift = np.ones((8, 1, 1), np.float32)
    shift[2] = constant
    second = integers(rng, 4, 8, 1, 1)
    second[:, [1, 2]] = 0
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["h"]),
        helper.make_node(op, ["h", "c"], ["s"]),
        helper.make_node("Conv", ["s", "w2"], ["y"]),
    ]
    weights = {"w1": integers(rng, 8, 3, 1, 1), "c": shift, "w2": second}
    expected = assert_same(chain(weights, nodes, (1, 3, 2, 2)))
    assert np.isnan(expected).any()


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Reciprocal", ["h"], ["s"])],
        [helper.make_node("Abs", ["h"], ["a"]), helper.make_node("Log", ["a"], ["s"])],
        [helper.make_node("Div", ["x1", "h"], ["s"])],
        [helper.make_node("InstanceNormalization", ["h", "one", "one"], ["s"], epsilon=0.0)],
    ],
    ids=["Reciprocal", "Log", "Div", "InstanceNormalization"],
)
def test_padding_does_not_make_infinities(nodes: list[onnx.NodeProto]) -> None:
    # Sums of three odd numbers are never zero, yet a channel that only pads would be.
    rng = np.random.default_rng(5)
    first = (2 * rng.integers(-2, 2, (8, 3, 1, 1)) + 1).astype(np.float32)
    second = integers(rng, 4, 8, 1, 1)
    second[:, 3:] = 0
    weights = {"w1": first, "w2": second, "x1": np.ones((1, 8, 1, 1), np.float32), "one": np.ones(8, np.float32)}
    model = chain(
        weights,
        [helper.make_node("Conv", ["x", "w1"], ["h"]), *nodes, helper.make_node("Conv", ["s", "w2"], ["y"])],
        (1, 3, 2, 2),
    )
    small = compiled(model, align=4).model
    x = np.array([1, 3, -5, 7, 1, 1, 3, -3, 5, 5, -1, 1], np.float32).reshape(1, 3, 2, 2)
    expected, given = Engine(model).run({"x": x})[0], Engine(small).run({"x": x})[0]
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_padding_holds_the_constants_others_rely_on() -> None:
    # Channel 4 is 2 · relu(3) - 6 = 0 for all inputs and is not read; were it to pad with its bias alone,
    # -6 would reach whoever counted on 0.
    rng = np.random.default_rng(6)
    first, second, third = integers(rng, 2, 3, 1, 1), integers(rng, 8, 2, 1, 1), integers(rng, 4, 8, 1, 1)
    first[0] = 0
    second[4] = np.array([2, 0]).reshape(2, 1, 1)
    b1, b2 = np.array([3, 1], np.float32), integers(rng, 8)
    b2[4] = -6
    third[:, 5:] = 0
    third[:, 4] = 1
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Conv", ["r", "w2", "b2"], ["s"]),
        helper.make_node("Conv", ["s", "w3"], ["y"]),
    ]
    weights = {"w1": first, "b1": b1, "w2": second, "b2": b2, "w3": third}
    for align in (1, 2, 4, 8):
        assert_same(chain(weights, nodes, (1, 3, 2, 2)), align)


def test_an_attention_mask_hides_no_dead_channel() -> None:
    # -inf in a mask is gone behind the Softmax, so heads and features may still be dropped.
    rng = np.random.default_rng(7)
    mask = np.triu(np.full((5, 5), -np.inf, np.float32), 1)
    wq, wk, wv, wo = (integers(rng, 6, 6) for _ in range(4))
    wo[[1, 4]] = 0
    wq[:, [0, 2]] = 0
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"]),
        helper.make_node("MatMul", ["x", "wk"], ["k"]),
        helper.make_node("MatMul", ["x", "wv"], ["v"]),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["scores"]),
        helper.make_node("Add", ["scores", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["c"]),
        helper.make_node("MatMul", ["c", "wo"], ["y"]),
    ]
    model = chain({"wq": wq, "wk": wk, "wv": wv, "wo": wo, "mask": mask}, nodes, (1, 5, 6))
    result = compiled(model)
    sizes = sorted(result.weight_sizes().values())
    assert sizes == [24, 24, 24, 24, 25]
    x = integers(rng, 1, 5, 6)
    expected, given = Engine(model).run({"x": x})[0], Engine(result.model).run({"x": x})[0]
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


_GUARDS = {
    "guarded": "n = IsNaN(p) g = Where(n, zero, p)",
    "guarded by its opposite": "n = IsNaN(p) o = Not(n) g = Where(o, p, zero)",
    "not guarded": "g = Identity(p)",
    "guarded by another value": "n = IsNaN(scores) g = Where(n, zero, p)",
    "guarded the other way": "n = IsNaN(p) g = Where(n, p, zero)",
    "replaced by what is not finite": "n = IsNaN(p) g = Where(n, low, p)",
}


@pytest.mark.parametrize("added", ["Add", "Where", "Expand", "turned", "scaled"])
@pytest.mark.parametrize("guard", _GUARDS)
def test_rows_without_any_token(guard: str, added: str) -> None:
    """Row 0 of the mask hides everything, so its shares are NaN. Constant channels may leave if that is mended."""
    rng = np.random.default_rng(8)
    wq, wk, wv, wo = (integers(rng, 6, 6) for _ in range(4))
    wv[:, [1, 4]] = 0
    masked = {
        "Add": "low4 = Where(mask, low, zero) masked = Add(scores, low4)",
        "Where": "masked = Where(mask, low, scores)",
        "Expand": "low0 = Expand(low, five) l = Where(mask, low0, zero) u = Unsqueeze(l, none) masked = Add(scores, u)",
        "turned": "low4 = Where(rows, low, zero) added = Add(scores, low4) masked = Transpose<perm=[0,2,1]>(added)",
        "scaled": "low4 = Where(mask, low, zero) twice = Mul(low4, zero) masked = Add(scores, twice)",
    }[added]
    text = f"""g (float[1,5,6] x) => (float[1,5,6] y) {{
        q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv) kt = Transpose<perm=[0,2,1]>(k) scores = MatMul(q, kt)
        {masked} p = Softmax(masked) {_GUARDS[guard]} c = MatMul(g, v) r = Relu(c) y = MatMul(r, wo)
    }}"""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')
    mask = np.triu(np.ones((5, 5), bool), 1)
    mask[0] = True
    rows = np.zeros((5, 5), bool)
    rows[:, 0] = True
    constants = {"wq": wq, "wk": wk, "wv": wv, "wo": wo, "mask": mask, "rows": rows}
    constants |= {"zero": np.zeros((), np.float32), "low": np.asarray(-np.inf, np.float32)}
    constants |= {"five": np.asarray([5, 5], np.int64), "none": np.zeros(1, np.int64)}
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items() if n in used)
    result = compiled(model)
    x = integers(rng, 1, 5, 6)
    expected, given = Engine(model).run({"x": x})[0], Engine(result.model).run({"x": x})[0]
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)
    left = next(size for name, size in result.weight_sizes().items() if name.startswith("wv"))
    mended = guard in ("guarded", "guarded by its opposite")
    assert left == (24 if mended else 36)
