"""Repair of graphs in which constants stand where layers usually do: in front, beside, and as inputs of layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.graphs import parse
from upscale_onnx import compile
from upscale_onnx.options import Repair
from upscale_onnx.runtime.activations import has_fixed_batch, value_batches
from upscale_onnx.runtime.walk import Walk

RNG = np.random.default_rng(0)
WEIGHTS = {
    name: RNG.normal(size=shape).astype(np.float32)
    for name, shape in {"w": (16, 16), "v": (16, 10), "b": (16,), "e": (4, 16), "u": (16, 16)}.items()
}
GRAPHS = {
    "an Identity of a bias first": "{ i = Identity(b)  h = Gemm(x, w, i)  r = Relu(h)  y = MatMul(r, v) }",
    "an Identity of a weight first": "{ i = Identity(w)  h = Gemm(x, i, b)  r = Relu(h)  y = MatMul(r, v) }",
    "several constants first": "{ i = Neg(b)  k = Exp(i)  h = Gemm(x, w, k)  r = Relu(h)  y = MatMul(r, v) }",
    "an Identity of the input": "{ i = Identity(x)  h = Gemm(i, w, b)  r = Relu(h)  y = MatMul(r, v) }",
    "the input twice": "{ h = Gemm(x, w, b)  r = Relu(h)  s = Add(r, x)  y = MatMul(s, v) }",
    "a layer of constants": (
        "{ n = Neg(e)  p = MatMul(n, u)  q = ReduceMean<keepdims = 0>(p)  h = Gemm(x, w, b)  s = Add(h, q)  "
        "r = Relu(s)  y = MatMul(r, v) }"
    ),
    "one row for all inputs": (
        "{ n = Neg(e)  p = MatMul(n, u)  t = ReduceSum<keepdims = 1>(x)  z = Mul(t, b)  h = Gemm(z, w, b)  "
        "k = ReduceMean<keepdims = 0>(p)  s = Add(h, k)  y = MatMul(s, v) }"
    ),
}


def _graph(text: str) -> onnx.ModelProto:
    return parse(f"(float[N, 16] x) => (float[N, 10] y) {text}", **{k: v for k, v in WEIGHTS.items() if k in text})


def _data(folder: Path) -> str:
    np.savez(folder / "c.npz", x=np.random.default_rng(1).normal(size=(64, 16)).astype(np.float32))
    return str(folder / "c.npz")


@pytest.mark.parametrize("repair", ["stats", "lsq"])
@pytest.mark.parametrize("text", GRAPHS.values(), ids=GRAPHS)
def test_repairs_take_constants_anywhere(tmp_path: Path, text: str, repair: Repair) -> None:
    report = compile(
        _graph(text), amount=0.5, masks="flat", prefer="size", calibration=_data(tmp_path), repair=repair
    ).report
    assert report.masked_channels >= 8
    assert report.effect is not None
    assert report.effect.distance is not None
    assert report.effect.distance < 1


def test_weights_that_are_listed_as_inputs_are_no_samples(tmp_path: Path) -> None:
    """Exporters used to list all weights as inputs; they fix no batch, and nobody feeds them."""
    model = _graph(GRAPHS["an Identity of a bias first"])
    for name in ("w", "b"):
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, WEIGHTS[name].shape))
    assert not has_fixed_batch(model)
    (found,) = value_batches(model, ["b", "x"], [{"x": np.ones((3, 16), np.float32)}])
    np.testing.assert_array_equal(found["b"], WEIGHTS["b"])
    report = compile(model, amount=0.5, masks="flat", prefer="size", calibration=_data(tmp_path), repair="lsq").report
    assert report.effect is not None
    assert report.effect.samples == 64


def test_a_walk_over_constants_makes_nothing_and_still_tells_their_values() -> None:
    model = _graph(GRAPHS["several constants first"])
    batches = [{"x": np.ones((n, 16), np.float32)} for n in (2, 3)]
    with Walk(model, batches, keep=["k", "r"]) as walk:
        walk.advance(2)
        walk.advance(len(model.graph.node))
        assert [value.shape for value in walk.values("r")] == [(2, 16), (3, 16)]
        first, second = walk.values("k")
    np.testing.assert_allclose(first, np.exp(-WEIGHTS["b"]), rtol=1e-6)
    np.testing.assert_array_equal(first, second)
