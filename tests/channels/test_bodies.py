"""Bodies of If, Loop and Scan: random networks with random masks compute the same when compiled, and lose channels."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.channels.engine import Engine
from upscale_onnx.model import load_model
from upscale_onnx.model.protos import inner_graphs
from upscale_onnx.types import Array

_WIDTH = 8


def network(text: str, rng: np.random.Generator, dead: float = 0.4, **weights: Array | tuple[int, ...]) -> onnx.ModelProto:
    """A model whose MatMul weights, given by their shapes, have columns of zeros. Weights called `in_BODY_…` are put
    into the body of that name."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]>\n{text}')
    bodies = {body.name: body for body in inner_graphs(model.graph)}
    for name, given in weights.items():
        values = given
        if isinstance(given, tuple):
            values = rng.integers(-2, 3, given).astype(np.float32) / 2
            values[..., rng.random(given[-1]) < dead] = 0
        part = bodies[name.split("_")[1]] if name.startswith("in_") else model.graph
        part.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    onnx.checker.check_model(model, full_check=True)
    return model


def elements(model: onnx.ModelProto) -> int:
    """The elements of all floating-point weights, those in bodies included."""
    parts = (model.graph, *inner_graphs(model.graph))
    tensors = [tensor for part in parts for tensor in part.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    return sum(int(np.prod(tensor.dims)) for tensor in tensors)


def compiled(model: onnx.ModelProto, export: str = "gather", align: int = 1) -> onnx.ModelProto:
    """The model compiled by one recipe, not verified: the tests do that."""
    return upscale_onnx.compile(model, race=False, export=export, align=align, verify=False).model


def check(model: onnx.ModelProto, rng: np.random.Generator, *feeds: dict[str, Array]) -> int:
    """The elements that are left by the smallest export. All exports compute the same as `model`."""
    left = []
    for export, align in (("gather", 1), ("keep", 1), ("upscale", 4), ("planned", 2)):
        small = compiled(model, export, align)
        onnx.checker.check_model(small, full_check=True)
        before, after = Engine(model), Engine(small)
        for feed in feeds:
            for _ in range(2):
                given = {"x": rng.standard_normal((2, _WIDTH)).astype(np.float32), **feed}
                for expected, found in zip(before.run(given), after.run(given), strict=True):
                    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        left.append(elements(small))
    return min(left)


IF = """g (float[2,8] x, bool c) => (float[2,4] y) {
  a = MatMul(x, wa)
  h = Relu(a)
  t = If (c) <
    then_branch = yes () => (float[2,8] t1) { p = MatMul(h, in_yes_w)
                                              t1 = Relu(p) },
    else_branch = no () => (float[2,8] t2) { q = MatMul(h, in_no_w)
                                             t2 = Tanh(q) }
  >
  y = MatMul(t, wy)
}"""


@pytest.mark.parametrize("seed", range(4))
def test_branches_share_the_channels_of_their_result(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = network(IF, rng, wa=(8, 8), in_yes_w=(8, 8), in_no_w=(8, 8), wy=(8, 4))
    left = check(model, rng, {"c": np.asarray(True)}, {"c": np.asarray(False)})
    weights = {t.name: numpy_helper.to_array(t) for part in (model.graph, *inner_graphs(model.graph)) for t in part.initializer}
    inner = (weights["wa"] != 0).any(0).sum()
    outer = ((weights["in_yes_w"] != 0).any(0) | (weights["in_no_w"] != 0).any(0)).sum()
    silent = (weights["wy"] != 0).any(0).sum()
    assert left <= 8 * inner + 2 * inner * outer + outer * 4
    assert silent


LOOP = """g (float[2,8] x, int64 n) => (float[2,4] y, float[k,2,4] z) {
  a = MatMul(x, wa)
  h = Relu(a)
  yes = Constant <value = bool {1}> ()
  t, s = Loop (n, yes, START) <
    body = round (int64 i, bool go, SHAPE held) => (bool again, float[2,8] next, float[2,8] seen) {
      again = Identity(go)
      p = MatMul(held, in_round_w)
      q = Add(p, h)
      next = Relu(q)
      seen = Identity(next)
    }
  >
  y = MatMul(t, wy)
  z = MatMul(s, wz)
}"""
ROUNDS = [{"n": np.asarray(count)} for count in (0, 1, 3)]


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("start", ["h", "zeros", "ones", "x"])
def test_what_a_loop_carries_loses_channels(start: str, declared: bool) -> None:
    rng = np.random.default_rng(1)
    text = LOOP.replace("START", start).replace("SHAPE", "float[2,8]" if declared else "float[]")
    starts = {"zeros": np.zeros((2, 8), np.float32), "ones": np.ones((2, 8), np.float32)}
    given = {start: starts[start]} if start in starts else {}
    model = network(text, rng, wa=(8, 8), in_round_w=(8, 8), wy=(8, 4), wz=(8, 4), **given)
    weights = {t.name: t for part in (model.graph, *inner_graphs(model.graph)) for t in part.initializer}
    arrays = {name: numpy_helper.to_array(tensor).copy() for name, tensor in weights.items()}
    arrays["wa"][:, 1:4] = arrays["in_round_w"][:, 1:4] = 0
    arrays["wa"][:, 0] = arrays["wy"][0] = arrays["wz"][0] = 1
    for name in ("wa", "in_round_w", "wy", "wz"):
        weights[name].CopyFrom(numpy_helper.from_array(arrays[name], name))
    if not declared:
        body = next(inner_graphs(model.graph))
        body.input[2].type.tensor_type.ClearField("shape")
    left = check(model, rng, *ROUNDS)
    whole = 8 * 8 + 8 * 8 + 2 * 8 * 4
    if start in ("h", "zeros"):
        assert left <= 8 * 5 + 5 * 5 + 2 * 5 * 4 + (2 * 5 if start == "zeros" else 0)
    else:
        assert left <= whole + (16 if start == "ones" else 0)
