"""Equations as matrix products whose weights masks know: the same results, zeros at the same places, whole heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import parse, weight
from tests.passes.test_plain_products import product
from upscale_onnx import compile
from upscale_onnx.masks.float_view import FloatView, float_view
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.targets import mask_targets
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.types import Array

# The operands' sizes, which of them is constant, the operators in place of the node, the axes of the weight that are
# one channel of the matrix's inputs (axis: index), and the number of this channel.
EQUATIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], str, str, dict[int, int], int]] = {
    "bsd,de->bse": ((2, 5, 6), (6, 3), "r", "MatMul", {0: 4}, 4),
    "bsd,ed->bse": ((2, 5, 6), (3, 6), "r", "MatMul", {1: 4}, 4),
    "...d,de->...e": ((2, 5, 6), (6, 3), "r", "MatMul", {0: 4}, 4),
    "bnm,mhd": ((2, 5, 6), (6, 3, 4), "r", "MatMul Reshape Transpose", {0: 4}, 4),
    "bnm,mhd->bnhd": ((2, 5, 6), (6, 3, 4), "r", "MatMul Reshape", {0: 4}, 4),
    "bnm,mhd->bhnd": ((2, 5, 6), (6, 3, 4), "r", "MatMul Reshape Transpose", {0: 4}, 4),
    "bnhd,hdm->bnm": ((2, 5, 3, 4), (3, 4, 6), "r", "Reshape MatMul", {0: 2, 1: 1}, 9),
    "bhnd,hdm->bnm": ((2, 3, 5, 4), (3, 4, 6), "r", "Transpose Reshape MatMul", {0: 2, 1: 1}, 9),
    "hdm,bnhd->bnm": ((3, 4, 6), (2, 5, 3, 4), "l", "Reshape MatMul", {0: 2, 1: 1}, 9),
    "bnhd,hde->bnhe": ((2, 5, 3, 4), (3, 4, 5), "r", "Transpose MatMul Transpose", {1: 2}, 2),
    "ecd,edf->ecf": ((3, 5, 4), (3, 4, 6), "r", "MatMul", {1: 2}, 2),
}  # fmt: skip


def _view(model: onnx.ModelProto) -> FloatView:
    found = float_view(model)
    assert found is not None
    return found


def _results(*models: onnx.ModelProto, sizes: tuple[int, ...]) -> list[Array]:
    x = np.random.default_rng(0).normal(size=sizes).astype(np.float32)
    return [run(make_session(model), {model.graph.input[0].name: x})[0] for model in models]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_the_view_makes_the_same_and_its_zeros_go_where_they_belong(equation: str) -> None:
    left, right, constant, operators, axes, channel = EQUATIONS[equation]
    model = product(equation, left, right, constant)
    view = _view(model)
    assert " ".join(node.op_type for node in view.model.graph.node) == operators
    before, same = _results(model, view.model, sizes=left if constant == "r" else right)
    np.testing.assert_allclose(same, before, rtol=1e-5, atol=1e-5)
    (target,) = mask_targets(view.model)
    kept = np.arange(target.channels("input")) != channel
    written = view.written(write_masks(view.model, {target.weight: kept})[0])
    expected = np.array(weight(*(left if constant == "l" else right)))
    expected[tuple(axes.get(axis, slice(None)) for axis in range(expected.ndim))] = 0
    (stored,) = written.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(stored), expected)
    assert view.read(written).graph.node == view.model.graph.node


def test_other_values_of_the_view_are_written_back() -> None:
    model = product("bhnd,hdm->bnm", (2, 3, 5, 4), (3, 4, 6), "r")
    view, changed = _view(model), onnx.ModelProto()
    changed.CopyFrom(view.model)
    matrix = next(tensor for tensor in changed.graph.initializer if tensor.name == "r")
    matrix.CopyFrom(numpy_helper.from_array(weight(12, 6) + np.float32(1), "r"))
    expected, found = _results(changed, view.written(changed), sizes=(2, 3, 5, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("...d,dhe->...he", (2, 5, 6), (6, 3, 4)),  # a Reshape would need the number of axes
        ("bij,jk->bk", (2, 3, 4), (4, 5)),  # one operand is summed over by itself
        ("bnd,d->bn", (2, 5, 6), (6,)),  # no outputs
        ("bnd,d->bnd", (2, 5, 6), (6,)),
        ("i,ij->j", (6,), (6, 4)),
        ("bghd,ghde->bghe", (2, 3, 4, 5), (3, 4, 5, 6)),  # matrices on two axes
    ],
)
def test_what_is_no_product_of_matrices_stays(equation: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    assert float_view(product(equation, left, right, "r")) is None


HEADS = """(float[N,6,32] x0) => (float[N,6,32] y) {
    x = MatMul(x0, w0)
    q = Einsum<equation="bsd,dhk->bshk">(x, wq)
    k = Einsum<equation="bsd,dhk->bshk">(x, wk)
    v = Einsum<equation="bsd,dhk->bshk">(x, wv)
    s = Einsum<equation="bqhk,bthk->bhqt">(q, k)
    p = Softmax<axis=-1>(s)
    o = Einsum<equation="bhqt,bthk->bqhk">(p, v)
    z = Einsum<equation="bshk,hkd->bsd">(o, wo)
    r = Add(x, z)
    f = Einsum<equation="bsd,df->bsf">(r, w1)
    g = Relu(f)
    y = Einsum<equation="bsf,fd->bsd">(g, w2)
}"""


def _transformer() -> onnx.ModelProto:
    """A layer of a transformer as Flax writes it."""
    sizes = {
        "w0": (32, 32), "wq": (32, 4, 8), "wk": (32, 4, 8), "wv": (32, 4, 8), "wo": (4, 8, 32), "w1": (32, 64),
        "w2": (64, 32),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    return parse(HEADS, **{name: rng.normal(size=size).astype(np.float32) / 5 for name, size in sizes.items()})


def _weights(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    tensors = model.graph.initializer
    return {tensor.name: tuple(tensor.dims) for tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("method", ["constrained", "unconstrained"])
def test_an_amount_takes_what_it_takes_of_matrices(method: str) -> None:
    model = _transformer()
    found, plain = (
        compile(each, amount=0.5, race=False, method=method)  # type: ignore[arg-type]
        for each in (model, _view(model).model)
    )
    assert found.report.profile == plain.report.profile
    assert _weights(found.model) == _weights(plain.model)
    if method == "constrained":
        kept = {one.weight: (one.unit, one.kept, one.channels) for one in found.report.profile}
        assert (kept["wo"], kept["w2"]) == (("heads", 2, 4), ("neurons", 32, 64))


def test_repair_fits_what_equations_are_left_with(tmp_path: Path) -> None:
    model, data = _transformer(), np.random.default_rng(1).normal(size=(64, 6, 32)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x0=data)
    losses = []
    for repair in (None, "lsq"):
        result = compile(
            model,
            amount=0.5,
            race=False,
            method="constrained",
            criterion="wanda",
            repair=repair,  # type: ignore[arg-type]
            calibration=str(tmp_path / "data.npz"),
        )
        before, after = _results(model, result.model, sizes=(32, 6, 32))
        losses.append(float(np.square(before - after).mean() / before.var()))
    assert losses[1] < 0.8 * losses[0]


def test_a_mask_file_names_the_channels_of_the_matrix(tmp_path: Path) -> None:
    file = tmp_path / "mask.json"
    file.write_text('{"wo": {"pruned": [0, 1, 2, 3, 4, 5, 6, 7]}}')
    result = compile(_transformer(), mask=str(file), race=False)
    assert _weights(result.model)["wq"] == (32, 24)
    assert _weights(result.model)["wo"] == (24, 32)
