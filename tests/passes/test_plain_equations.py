"""PlainEquations: what becomes of diagonals, of sums of one operand, and of several operands."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.graphs import parse, weight
from tests.passes.apply import applied
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.export.pipeline import preparation
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.passes.plain_equations import PlainEquations
from upscale_onnx.passes.rewrite import Rewrite

# The operands' sizes, how many of them, from the first on, are constant, and the operators in place of the node.
EQUATIONS: dict[str, tuple[tuple[tuple[int, ...], ...], int, str]] = {
    "bii->bi": (((2, 4, 4),), 0, "Transpose Reshape Slice"),
    "ibi->bi": (((4, 2, 4),), 0, "Transpose Reshape Slice"),
    "ibi": (((4, 2, 4),), 0, "Transpose Reshape Slice Einsum"),
    "bii->b": (((2, 4, 4),), 0, "Transpose Reshape Slice Einsum"),
    "bii,bij->bj": (((2, 4, 4), (2, 4, 5)), 0, "Transpose Reshape Slice Einsum"),
    "bij,jk->bk": (((2, 3, 4), (4, 5)), 0, "Einsum Einsum"),
    "jkl,bj->bk": (((4, 5, 2), (2, 4)), 1, "Einsum Einsum"),
    "...ij,jk->...k": (((2, 3, 4), (4, 5)), 0, "Einsum Einsum"),
    "bi,ij,jk->bk": (((2, 3), (3, 4), (4, 5)), 0, "Einsum Einsum"),
    "ij,bi,jk->bk": (((3, 4), (2, 3), (4, 5)), 1, "Einsum Einsum"),
    "bqhd,bkhd,h->bhqk": (((2, 3, 2, 4), (2, 5, 2, 4), (2,)), 0, "Einsum Einsum"),
    "b,b,b->b": (((2,), (2,), (2,)), 0, "Einsum Einsum"),
}  # fmt: skip


def _model(equation: str, sizes: tuple[tuple[int, ...], ...], constants: int) -> onnx.ModelProto:
    names = [f"x{index}" for index in range(len(sizes))]
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, sizes, strict=True)]
    held = [numpy_helper.from_array(weight(*s), n) for n, s in zip(names[:constants], sizes, strict=False)]
    node = helper.make_node("Einsum", names, ["y"], "y", equation=equation)
    graph = helper.make_graph([node], "g", given[constants:], [helper.make_empty_tensor_value_info("y")], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("equation", EQUATIONS)
def test_one_step(equation: str) -> None:
    sizes, constants, operators = EQUATIONS[equation]
    made = applied(_model(equation, sizes, constants), PlainEquations())
    assert " ".join(node.op_type for node in made.graph.node) == operators


def test_a_diagonal_of_unknown_size_stays() -> None:
    model = parse('(float[N,N] x) => (float[N] y) { y = Einsum<equation="ii->i">(x) }')
    assert [node.op_type for node in applied(model, PlainEquations()).graph.node] == ["Einsum"]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_in_the_end_rules_look_through_all(equation: str) -> None:
    model = _model(*((equation, *EQUATIONS[equation][:2])))
    rewrite = Rewrite(import_graph(model), infer_shapes(model))
    preparation().run(rewrite)
    analysis = analyse(rewrite.graph, rewrite.shapes)
    assert "Einsum" not in {step.op.op_type for step in analysis.steps if step.barrier}


NETWORKS = {
    "three operands": "(float[2,5,6] x, float[2,5] g) => (float[2,5,4] y) { a = MatMul(x, first) "
    'e = Einsum<equation="bsc,bs,cd->bsd">(a, g, w) y = MatMul(e, last) }',
    "a sum of one operand": "(float[2,5,6] x, float[2,3,5] t) => (float[2,4] y) { a = MatMul(x, first) "
    'e = Einsum<equation="bsc,bts->bc">(a, t) y = MatMul(e, last) }',
    "a diagonal": "(float[2,5,5,6] x, float[2,5] g) => (float[2,5,4] y) { a = MatMul(x, first) "
    'e = Einsum<equation="bssc,bs->bsc">(a, g) y = MatMul(e, last) }',
}


@pytest.mark.parametrize("name", NETWORKS)
def test_dead_channels_leave(name: str) -> None:
    """Of 8 channels in front of the equation, 4 are zeros."""
    first = weight(6, 8)
    first[:, ::2] = 0
    model = parse(NETWORKS[name], first=first, w=weight(8, 8), last=weight(8, 4))
    result = upscale_onnx.compile(model, export="keep", align=1, race=False)
    assert result.report.refusals == ()
    assert result.report.verification is not None
    assert result.report.verification.equal
    shapes = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    assert shapes["first"] == (6, 4)
