"""How what is left of weights is stored: once, under their name, in their type; and what had better stay whole."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.graphs import check, golden, parse, show, weight
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import recipes
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.stats import model_stats
from upscale_onnx.plan.growth import StoredWeight, outgrown

RECIPES = sorted(recipes(1))


def exported(model: onnx.ModelProto, name: str = "gather") -> onnx.ModelProto:
    before = model.SerializeToString(deterministic=True)
    after = make(recipes(1)[name], model, infer_shapes(model))
    check(model, after)
    assert model.SerializeToString(deterministic=True) == before
    return after


@pytest.mark.parametrize("name", RECIPES)
def test_readers_that_agree_share_one_weight(name: str) -> None:
    nodes = "".join(f"c{i} = Conv(r{i}, inner) r{i + 1} = Relu(c{i})\n" for i in range(4))
    model = parse(
        f"(float[1,3,4,4] x) => (float[1,2,4,4] y) {{ r0 = Conv(x, first) {nodes} y = Conv(r4, last) }}",
        first=weight(8, 3, 1, 1, rows=range(4)),
        inner=weight(8, 8, 1, 1, rows=range(4), columns=range(4)),
        last=weight(2, 8, 1, 1, columns=range(4)),
    )
    after = exported(model, name)
    assert {t.name: tuple(t.dims) for t in after.graph.initializer} == {
        "first": (4, 3, 1, 1),
        "inner": (4, 4, 1, 1),
        "last": (2, 4, 1, 1),
    }


def two_cuts(rows: int) -> onnx.ModelProto:
    """Two layers of one weight with 8 rows; of one the first `rows` are read, of the other the last."""
    return parse(
        """(float[1,64,2,2] x, float[1,64,2,2] u) => (float[1,1,2,2] y, float[1,1,2,2] v) {
            a = Conv(x, w)
            b = Conv(u, w)
            y = Conv(a, wy)
            v = Conv(b, wv)
        }""",
        w=weight(8, 64, 1, 1),
        wy=weight(1, 8, 1, 1, columns=range(rows, 8)),
        wv=weight(1, 8, 1, 1, columns=range(8 - rows)),
    )


def test_a_weight_is_cut_once_for_each_distinct_cut() -> None:
    assert show(exported(two_cuts(3))) == golden(
        """a = Conv(x, w_1{3x64x1x1})
        b = Conv(u, w_2{3x64x1x1})
        y = Conv(a, wy{1x3x1x1})
        v = Conv(b, wv{1x3x1x1})"""
    )


def test_a_weight_stays_whole_where_its_cuts_take_more() -> None:
    assert show(exported(two_cuts(6), "keep")) == golden(
        """a = Conv(x, w{8x64x1x1})
        b = Conv(u, w{8x64x1x1})
        y = Conv(a, wy{1x8x1x1})
        v = Conv(b, wv{1x8x1x1})"""
    )


def test_the_value_of_a_constant_node_stays_whole_too(capfd: pytest.CaptureFixture[str]) -> None:
    model = two_cuts(6)
    value = onnx.TensorProto.FromString(model.graph.initializer[0].SerializeToString())
    del model.graph.initializer[0]
    nodes = [onnx.helper.make_node("Constant", [], ["w"], "w", value=value), *model.graph.node]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    after = exported(model, "keep")
    assert [(t.name, tuple(t.dims)) for t in after.graph.initializer if t.name == "w"] == [("w", (8, 64, 1, 1))]
    assert capfd.readouterr() == ("", "")


def test_a_shared_bias_does_not_keep_weights_whole() -> None:
    model = parse(
        """(float[1,4,2,2] x) => (float[1,1,2,2] y, float[1,1,2,2] v) {
            a = Conv(x, wa, bias)
            b = Conv(x, wb, bias)
            y = Conv(a, wy)
            v = Conv(b, wv)
        }""",
        wa=weight(8, 4, 1, 1),
        wb=weight(8, 4, 1, 1, seed=1),
        bias=weight(8),
        wy=weight(1, 8, 1, 1, columns=[7]),
        wv=weight(1, 8, 1, 1, columns=[0]),
    )
    assert show(exported(model)) == golden(
        """a = Conv(x, wa{7x4x1x1}, bias_1{7})
        b = Conv(x, wb{7x4x1x1}, bias_2{7})
        y = Conv(a, wy{1x7x1x1})
        v = Conv(b, wv{1x7x1x1})"""
    )


def half_and_transposed() -> onnx.ModelProto:
    return parse(
        """(float[2,6] x) => (float[2,3] y) {
            w = Cast<to=1>(half)
            a = MatMul(x, w)
            r = Relu(a)
            v = Transpose<perm=[1,0]>(rows)
            y = MatMul(r, v)
        }""",
        half=weight(6, 8).astype(np.float16),
        rows=weight(3, 8, columns=[0, 5]),
    )


def test_weights_stay_in_the_type_and_layout_they_are_stored_in() -> None:
    after = exported(half_and_transposed())
    assert {t.name: (t.data_type, tuple(t.dims)) for t in after.graph.initializer} == {
        "half": (onnx.TensorProto.FLOAT16, (6, 6)),
        "rows": (onnx.TensorProto.FLOAT, (3, 6)),
    }
    assert sorted(node.op_type for node in after.graph.node) == ["Cast", "MatMul", "MatMul", "Relu", "Transpose"]


def test_a_weight_read_as_it_is_and_transposed_is_stored_once() -> None:
    model = parse(
        """(float[2,6] x, float[3,5] u) => (float[2,5] y, float[3,1] z) {
            v = Transpose<perm=[1,0]>(table)
            a = MatMul(x, w)
            y = MatMul(a, v)
            e = MatMul(u, table)
            z = MatMul(e, last)
        }""",
        w=weight(6, 8, columns=[1, 2]),
        table=weight(5, 8, columns=[1, 2]),
        last=weight(8, 1, rows=[1, 2]),
    )
    after = exported(model)
    assert model_stats(after).bytes < model_stats(model).bytes
    assert {t.name: tuple(t.dims) for t in after.graph.initializer} == {"w": (6, 6), "table": (5, 6), "last": (6, 1)}


def test_a_value_that_does_not_fit_the_stored_type_is_not_squeezed_into_it() -> None:
    # Gemm's alpha is multiplied into what is left of the weight; 0.7 times an integer has no exact half.
    model = parse(
        """(float[2,6] x) => (float[2,1] y) {
            w = Cast<to=1>(half)
            a = Gemm<alpha=0.7>(x, w)
            y = MatMul(a, u)
        }""",
        half=weight(6, 8).astype(np.float16),
        u=weight(8, 1, rows=[0, 1, 2, 3, 4]),
    )
    after = make(recipes(1)["gather"], model, infer_shapes(model))
    stored = next(t for t in after.graph.initializer if t.name.startswith("half"))
    values = onnx.numpy_helper.to_array(stored)
    expected = weight(6, 8)[:, 5:] * np.float32(0.7)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)


def test_weights_of_constant_nodes_keep_their_name() -> None:
    value = onnx.numpy_helper.from_array(weight(8, 3, 1, 1, rows=[0, 1]), "inside")
    model = parse(
        "(float[1,3,4,4] x) => (float[1,2,4,4] y) { a = Conv(x, w) y = Conv(a, u) }",
        w=weight(8, 3, 1, 1),
        u=weight(2, 8, 1, 1, columns=[0, 1]),
    )
    del model.graph.initializer[0]
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w"], "w", value=value))
    after = exported(model)
    assert {t.name: tuple(t.dims) for t in after.graph.initializer} == {"w": (6, 3, 1, 1), "u": (2, 6, 1, 1)}


def test_growth_beside_savings_is_no_growth() -> None:
    shared = StoredWeight("bias", 32, 56, frozenset("ab"))
    weights = [shared, StoredWeight("wa", 128, 112, frozenset("a")), StoredWeight("wb", 128, 112, frozenset("b"))]
    assert outgrown([shared]) == {"bias"}
    assert outgrown(weights) == frozenset()


@pytest.mark.parametrize(("sizes", "stored"), [((2, 8, 4, 4), (1, 6, 1, 1)), ((1, 8, 1, 1), (1, 6, 1, 1))])
def test_what_is_computed_by_repetition_is_stored_once(sizes: tuple[int, ...], stored: tuple[int, ...]) -> None:
    """Cut, the value of the Expand would take more bytes than the model."""
    gains = np.arange(1, 9, dtype=np.float32).reshape(1, 8, 1, 1)
    model = parse(
        """(float[2,3,4,4] x) => (float[2,2,4,4] y) {
            a = Conv(x, w)
            m = Expand(gains, sizes)
            p = Mul(a, m)
            y = Conv(p, u)
        }""",
        w=weight(8, 3, 1, 1, rows=[0, 1]), u=weight(2, 8, 1, 1, columns=[0, 1]), gains=gains,
        sizes=np.asarray(sizes, np.int64),
    )  # fmt: skip
    after = exported(model)
    assert stored in {tuple(tensor.dims) for tensor in after.graph.initializer}
    assert after.ByteSize() < model.ByteSize()
