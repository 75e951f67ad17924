"""PlainProducts: what becomes of equations and of products by vectors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.graphs import golden, parse, show, weight
from tests.passes.apply import applied
from upscale_onnx.passes.plain_products import PlainProducts
from upscale_onnx.types import Array

Sizes = tuple[int, ...]
# The operands' sizes, which of them is constant (if any), and the operators that take the node's place.
EQUATIONS: dict[str, tuple[Sizes, Sizes, str, str]] = {
    "bnm,mhd->bnhd": ((2, 5, 6), (6, 3, 4), "r", "MatMul Reshape"),
    "bnhd,hdm->bnm": ((2, 5, 3, 4), (3, 4, 6), "r", "Reshape MatMul"),
    "hdm,bnhd->bnm": ((3, 4, 6), (2, 5, 3, 4), "l", "Reshape MatMul"),
    "...d,d->...": ((2, 5, 3, 4), (4,), "r", "MatMul Squeeze"),
    "bchw,c->bhw": ((2, 6, 5, 4), (6,), "r", "Transpose MatMul Squeeze"),
    "bchw,c->bchw": ((2, 6, 5, 4), (6,), "r", "Mul"),
    "bhd,hde->bhe": ((2, 3, 4), (3, 4, 5), "r", "Transpose MatMul Transpose"),
    "bnhd,hde->bnhe": ((2, 5, 3, 4), (3, 4, 5), "r", "Transpose MatMul Transpose"),
    "bnd,bnd->bn": ((2, 5, 6), (2, 5, 6), "", "Unsqueeze Unsqueeze MatMul Squeeze"),
    "bi,bj->bij": ((2, 6), (2, 4), "", "Unsqueeze Unsqueeze Mul"),
    "bqd,bqkd->bqk": ((2, 3, 4), (2, 3, 5, 4), "", "Unsqueeze Transpose MatMul Squeeze"),
    "bhwc,bkc->bhwk": ((2, 3, 5, 4), (2, 7, 4), "", "Transpose Transpose Unsqueeze MatMul Transpose"),
    "i,i": ((3,), (3,), "", "Unsqueeze Unsqueeze MatMul Squeeze"),
}  # fmt: skip
KEPT = {"bii,bij->bj": ((2, 3, 3), (2, 3, 4), ""), "bij,jk->bk": ((2, 3, 4), (4, 5), "r")}


def product(equation: str, left: Sizes, right: Sizes, constant: str, opset: int = 18) -> onnx.ModelProto:
    """One Einsum, of which the first axis of each value is dynamic where there are several."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *sizes[1:]] if len(sizes) > 1 else sizes)
        for name, sizes in (("l", left), ("r", right))
        if name != constant
    ]
    weights = [numpy_helper.from_array(weight(*(left if constant == "l" else right)), constant)] if constant else []
    node = helper.make_node("Einsum", ["l", "r"], ["y"], "y", equation=equation)
    graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info("y")], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("equation", EQUATIONS)
def test_an_equation_becomes_a_product(equation: str) -> None:
    left, right, constant, operators = EQUATIONS[equation]
    made = applied(product(equation, left, right, constant), PlainProducts())
    assert " ".join(node.op_type for node in made.graph.node) == operators


@pytest.mark.parametrize("equation", KEPT)
def test_diagonals_and_sums_of_one_operand_stay(equation: str) -> None:
    made = applied(product(equation, *KEPT[equation]), PlainProducts())
    assert [node.op_type for node in made.graph.node] == ["Einsum"]


def test_an_equation_that_a_rule_knows_stays() -> None:
    made = applied(product("...d,de->...e", (2, 5, 4), (4, 3), "r"), PlainProducts())
    assert [node.op_type for node in made.graph.node] == ["Einsum"]


VECTORS: dict[str, tuple[str, int, dict[str, Array], str]] = {
    "a constant on the right": (
        "(float[N,3,4] x) => (float[N,3] y) { y = MatMul(x, w) }",
        18,
        {"w": weight(4)},
        "y_product = MatMul(x, w_1{4x1})\ny = Squeeze(y_product, [2])",
    ),
    "a constant on the left, in an old form": (
        "(float[N,4,3] x) => (float[N,3] y) { y = MatMul(w, x) }",
        12,
        {"w": weight(4)},
        "x_transpose = Transpose<perm=[0,2,1]>(x)\ny_product = MatMul(x_transpose, w_1{4x1})\n"
        "y = Squeeze<axes=[2]>(y_product)",
    ),
    "a vector by a matrix": (
        "(float[4] x) => (float[3] y) { y = MatMul(x, w) }",
        18,
        {"w": weight(4, 3)},
        "x_unsqueeze = Unsqueeze(x, [0])\ny_product = MatMul(x_unsqueeze, w_1{4x3})\ny = Squeeze(y_product, [0])",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_product_by_a_vector(name: str) -> None:
    text, opset, constants, expected = VECTORS[name]
    assert show(applied(parse(text, opset, **constants), PlainProducts())) == golden(expected)


def test_channels_of_an_attention_of_equations_leave() -> None:
    """As Keras writes it: heads are axes of the weights. Half of the values' features leave, and a row of queries."""
    heads, size, width = 2, 4, 6
    dead = [(0, 1), (2, 3)]
    wv, wo = weight(width, heads, size, seed=3), weight(heads, size, width, seed=4)
    wq = weight(width, heads, size, seed=1)
    for head, features in enumerate(dead):
        wv[:, head, list(features)], wo[head, list(features)] = 0, 0
        wq[:, head, head] = 0
    model = parse(
        """(float[N,5,6] x) => (float[N,5,6] y) {
        q = Einsum<equation="btm,mhd->bthd">(x, wq)
        k = Einsum<equation="btm,mhd->bthd">(x, wk)
        v = Einsum<equation="btm,mhd->bthd">(x, wv)
        s = Einsum<equation="bqhd,bkhd->bhqk">(q, k)
        p = Softmax<axis=-1>(s)
        o = Einsum<equation="bhqk,bkhd->bqhd">(p, v)
        y = Einsum<equation="bqhd,hdm->bqm">(o, wo)
        }""",
        wq=wq, wk=weight(width, heads, size, seed=2), wv=wv, wo=wo,
    )  # fmt: skip
    result = upscale_onnx.compile(model, export="keep", align=1, race=False)
    assert result.report.refusals == ()
    assert result.report.verification is not None
    assert result.report.verification.equal
    shapes = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer if len(tensor.dims) > 1}
    assert sorted(int(np.prod(shape)) for shape in shapes.values()) == [24, 24, 36, 36]


@pytest.mark.parametrize("dead", [(), (1, 3)])
def test_a_vector_by_matrices_comes_back_where_no_channel_leaves(dead: tuple[int, ...]) -> None:
    first = weight(8, 6)
    first[list(dead)] = 0
    text = "(float[N,6,5] x) => (float[N,5] y) { h = MatMul(a, x)\nr = Relu(h)\ny = MatMul(w, r) }"
    result = upscale_onnx.compile(parse(text, a=first, w=weight(8)), export="keep", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    made = [node.op_type for node in result.model.graph.node]
    weights = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    if dead:
        assert made == ["MatMul", "Relu", "Transpose", "MatMul", "Squeeze"]
        assert weights["a"] == (6, 6)
    else:
        assert made == ["MatMul", "Relu", "MatMul"]
        assert weights == {"a": (8, 6), "w": (8,)}


def test_a_computed_matrix_comes_back_with_its_product() -> None:
    text = "(float[6] x) => (float[5] y) { t = Transpose<perm=[1,0]>(w)\nh = MatMul(x, t)\ny = Relu(h) }"
    model = parse(text, w=weight(5, 6))
    # What is not shown equal would be made again without this node.
    made = upscale_onnx.compile(model, export="keep", align=1, race=False, verify=False).model
    onnx.checker.check_model(made, full_check=True)
    assert [node.op_type for node in made.graph.node] == ["Transpose", "MatMul", "Relu"]


def test_matrices_by_a_vector_stay_rewritten() -> None:
    text = "(float[N,3,6] x) => (float[N,3] y) { h = MatMul(x, a)\nr = Relu(h)\ny = MatMul(r, w) }"
    result = upscale_onnx.compile(parse(text, a=weight(6, 8), w=weight(8)), export="keep", align=1, race=False)
    assert [node.op_type for node in result.model.graph.node] == ["MatMul", "Relu", "MatMul", "Squeeze"]
