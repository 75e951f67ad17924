"""Bodies of If, Loop and Scan: networks with masks compute the same when they are compiled, and lose channels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.channels.engine import Engine
from upscale_onnx.model.protos import inner_graphs
from upscale_onnx.types import Array

Given = Mapping[str, Array | tuple[int, ...]]
YES, NO = np.asarray(True), np.asarray(False)


def network(text: str, rng: np.random.Generator, given: Given, dead: float = 0.4) -> onnx.ModelProto:
    """A model with random weights of the given shapes, whose columns are zero by the share `dead`, or the given values.
    Weights called `in_BODY_…` are in the body of that name."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]>\n{text}')
    bodies = {body.name: body for body in inner_graphs(model.graph)}
    for name, what in given.items():
        values = masked(rng, what, rng.random(what[-1]) < dead) if isinstance(what, tuple) else what
        part = bodies[name.split("_")[1]] if name.startswith("in_") else model.graph
        part.initializer.append(numpy_helper.from_array(values, name))
    onnx.checker.check_model(model, full_check=True)
    return model


def masked(rng: np.random.Generator, shape: tuple[int, ...], dead: Array | list[int]) -> Array:
    """A weight without zeros but in its columns `dead`."""
    values = (rng.integers(1, 4, shape) * rng.choice([-1, 1], shape) / 4).astype(np.float32)
    values[..., dead] = 0
    return np.asarray(values)


def elements(model: onnx.ModelProto) -> int:
    """The number of floating-point weights, those in bodies included."""
    parts = (model.graph, *inner_graphs(model.graph))
    tensors = [tensor for part in parts for tensor in part.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    return sum(int(np.prod(tensor.dims)) for tensor in tensors)


def check(model: onnx.ModelProto, rng: np.random.Generator, *feeds: dict[str, Array]) -> onnx.ModelProto:
    """The smallest export by one recipe; the exports by all recipes compute the same as `model`."""
    made = []
    for export, align in (("gather", 1), ("keep", 1), ("upscale", 4), ("planned", 2)):
        small = upscale_onnx.compile(model, race=False, export=export, align=align, verify=False).model
        onnx.checker.check_model(small, full_check=True)
        before, after = Engine(model), Engine(small)
        for feed in feeds:
            for _ in range(2):
                given = {"x": rng.standard_normal((2, 8)).astype(np.float32), **feed}
                for expected, found in zip(before.run(given), after.run(given), strict=True):
                    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        made.append(small)
    return min(made, key=elements)


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


def test_branches_share_the_channels_of_their_result() -> None:
    """Of `h` 5 channels are left, of `t` the 6 that one of the branches makes."""
    rng = np.random.default_rng(0)
    weights = {"wa": masked(rng, (8, 8), [0, 1, 2]), "in_yes_w": masked(rng, (8, 8), [1, 2, 3])}
    weights |= {"in_no_w": masked(rng, (8, 8), [2, 3, 4]), "wy": (8, 4)}
    model = network(IF, rng, weights, dead=0)
    small = check(model, rng, {"c": YES}, {"c": NO})
    assert elements(small) == 8 * 5 + 2 * 5 * 6 + 6 * 4
    assert [tensor.name for body in inner_graphs(small.graph) for tensor in body.initializer] == ["in_yes_w", "in_no_w"]


@pytest.mark.parametrize("form", [IF, IF.replace("t1", "t2"), IF.replace("t2 = Tanh(q)", "t2 = Identity(h)")])
@pytest.mark.parametrize("seed", range(3))
def test_branches_with_random_masks(form: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights: Given = {"wa": (8, 8), "in_yes_w": (8, 8), "in_no_w": (8, 8), "wy": (8, 4)}
    model = network(form, rng, {k: v for k, v in weights.items() if k in form})
    small = check(model, rng, {"c": YES}, {"c": NO})
    assert elements(small) < elements(model)


def test_a_branch_of_a_constant_is_cut() -> None:
    """The other branch returns a constant of the main graph, and a slice of it is left."""
    rng = np.random.default_rng(0)
    text = IF.replace("q = MatMul(h, in_no_w)", "").replace("Tanh(q)", "Identity(k)")
    constant = masked(rng, (2, 8), [1, 2, 3])
    weights = {"wa": (8, 8), "in_yes_w": masked(rng, (8, 8), [1, 2]), "k": constant, "wy": (8, 4)}
    small = check(network(text, rng, weights, dead=0), rng, {"c": YES}, {"c": NO})
    assert elements(small) == 8 * 8 + 8 * 6 + 2 * 6 + 6 * 4


@pytest.mark.parametrize("taken", [True, False])
def test_an_if_whose_condition_is_known_is_replaced_by_its_branch(taken: bool) -> None:
    rng = np.random.default_rng(0)
    text = IF.replace(", bool c", "")
    weights = {"wa": masked(rng, (8, 8), [0]), "in_yes_w": masked(rng, (8, 8), [1, 2, 3])}
    weights |= {"in_no_w": masked(rng, (8, 8), [4]), "wy": (8, 4), "c": np.asarray(taken)}
    small = check(network(text, rng, weights, dead=0), rng, {})
    assert "If" not in {node.op_type for node in small.graph.node}
    wide = 5 if taken else 7
    assert elements(small) == 8 * 7 + 7 * wide + wide * 4


def test_what_might_fail_in_a_branch_stays_there() -> None:
    """A selection of what a branch computes is made in the branch, and one of the main graph before it at most."""
    rng = np.random.default_rng(0)
    text = """g (float[2,8] x, bool c) => (float[2,4] y) {
      a = MatMul(x, wa)
      y = If (c) <
        then_branch = yes () => (float[2,4] t1) { p = MatMul(a, in_yes_u)
                                                  q = Relu(p)
                                                  r = MatMul(q, in_yes_v)
                                                  s = MatMul(q, in_yes_w)
                                                  t1 = Add(r, s) },
        else_branch = no () => (float[2,4] t2) { t2 = MatMul(a, in_no_w) }
      >
    }"""
    rows = {name: np.ascontiguousarray(masked(rng, (4, 8), gone).T) for name, gone in (("v", [0, 1]), ("w", [1, 2, 3]))}
    weights = {"wa": (8, 8), "in_yes_u": (8, 8), "in_yes_v": rows["v"], "in_yes_w": rows["w"]}
    small = check(network(text, rng, {**weights, "in_no_w": (8, 4)}, dead=0), rng, {"c": YES}, {"c": NO})
    assert [node.op_type for node in small.graph.node] == ["MatMul", "If"]
    assert elements(small) == 8 * 8 + 8 * 7 + 6 * 4 + 5 * 4 + 8 * 4


LOOP = """g (float[2,8] x, int64 n) => (float[2,4] y, float[k,2,4] z) {
  a = MatMul(x, wa)
  h = Relu(a)
  yes = Constant <value = bool {1}> ()
  t, s = Loop (n, yes, START) <
    body = round (int64 i, bool go, float[2,8] held) => (bool again, float[2,8] next, float[2,8] seen) {
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
    """Three channels are zero in each round if they start as zeros, whether the body declares their number or not."""
    rng = np.random.default_rng(1)
    weights = {"wa": masked(rng, (8, 8), [1, 2, 3]), "in_round_w": masked(rng, (8, 8), [1, 2, 3])}
    starts = {"zeros": np.zeros((2, 8), np.float32), "ones": np.ones((2, 8), np.float32)}
    given = {start: starts[start]} if start in starts else {}
    model = network(LOOP.replace("START", start), rng, {**weights, "wy": (8, 4), "wz": (8, 4), **given}, dead=0)
    if not declared:
        next(inner_graphs(model.graph)).input[2].type.tensor_type.ClearField("shape")
    small = check(model, rng, *ROUNDS)
    wide = 5 if start in ("h", "zeros") else 8  # of z, which never holds what is there at the start, 5 are read
    assert elements(small) == 8 * wide + wide * wide + wide * 4 + 5 * 4 + (2 * wide if given else 0)


def test_a_channel_that_becomes_infinite_in_a_loop_stays() -> None:
    """All weights for channel 0 are zero, but zero times infinity is no zero."""
    rng = np.random.default_rng(1)
    text = LOOP.replace("START", "h").replace("next = Relu(q)", "next = Div(q, d)")
    rows = np.ascontiguousarray(masked(rng, (8, 8), [0]).T)
    columns = np.ascontiguousarray(masked(rng, (4, 8), [0]).T)
    weights = {"wa": (8, 8), "in_round_w": rows, "wy": columns, "wz": columns}
    divisor = np.asarray([0, 1, 1, 1, 1, 1, 1, 1], np.float32)
    small = check(network(text, rng, {**weights, "d": divisor}, dead=0), rng, *ROUNDS)
    assert elements(small) == elements(network(text, rng, {**weights, "d": divisor}, dead=0))


SCAN = """g (float[2,8] x, float[6,2,8] xs) => (float[2,4] y, float[2,6,4] z) {
  h = MatMul(x, wa)
  e = MatMul(xs, we)
  es = Relu(e)
  t, s = Scan (h, es) <num_scan_inputs = 1, scan_output_axes = [AXIS],
    body = step (float[2,8] held, float[2,8] item) => (float[2,8] next, float[2,8] seen) {
      p = MatMul(held, in_step_w)
      q = Add(p, item)
      next = Relu(q)
      seen = Neg(next)
    }
  >
  y = MatMul(t, wy)
  z = MatMul(s, wz)
}"""


@pytest.mark.parametrize("axis", [1, -2])
def test_what_a_scan_reads_carries_and_stacks_loses_channels(axis: int) -> None:
    rng = np.random.default_rng(1)
    gone = [0, 4, 5]
    weights = {name: masked(rng, (8, 8), gone) for name in ("wa", "we", "in_step_w")}
    model = network(SCAN.replace("AXIS", str(axis)), rng, {**weights, "wy": (8, 4), "wz": (8, 4)}, dead=0)
    sequence = rng.standard_normal((6, 2, 8)).astype(np.float32)
    small = check(model, rng, {"xs": sequence}, {"xs": -sequence})
    assert elements(small) == 2 * 8 * 5 + 5 * 5 + 2 * 5 * 4


def test_a_scan_along_channels_keeps_them() -> None:
    rng = np.random.default_rng(1)
    text = SCAN.replace("AXIS", "1").replace("num_scan_inputs", "scan_input_axes = [2], num_scan_inputs")
    text = text.replace("float[6,2,8] xs", "float[2,8,6] xs").replace("MatMul(xs, we)", "MatMul(xs, we)")
    model = network(text, rng, {"wa": (8, 8), "we": (6, 6), "in_step_w": (8, 8), "wy": (8, 4), "wz": (8, 4)})
    check(model, rng, {"xs": rng.standard_normal((2, 8, 6)).astype(np.float32)})


NESTED = """g (float[2,8] x, int64 n, bool c) => (float[2,4] y) {
  a = MatMul(x, wa)
  h = Relu(a)
  yes = Constant <value = bool {1}> ()
  t = Loop (n, yes, h) <
    body = round (int64 i, bool go, float[2,8] held) => (bool again, float[2,8] next) {
      again = Identity(go)
      p = MatMul(held, in_round_w)
      next = If (c) <
        then_branch = yes () => (float[2,8] t1) { u = Add(p, h)
                                                  t1 = Relu(u) },
        else_branch = no () => (float[2,8] t1) { u = MatMul(h, in_no_w)
                                                 w = Relu(p)
                                                 t1 = Add(u, w) }
      >
    }
  >
  y = MatMul(t, wy)
}"""


@pytest.mark.parametrize("seed", range(4))
def test_bodies_in_bodies_with_random_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    given: Given = {"wa": (8, 8), "in_round_w": (8, 8), "in_no_w": (8, 8), "wy": (8, 4)}
    model = network(NESTED, rng, given)
    small = check(model, rng, *({"n": np.asarray(n), "c": c} for n in (0, 1, 3) for c in (YES, NO)))
    assert elements(small) <= elements(model)


def branch(rate: str, width: int) -> str:
    """A voice detector for one rate of samples: convolutions, an LSTM that goes on from its last state, a layer."""
    w, p = f"in_{rate}", rate
    return f"""{rate} () => (float[1,1] {p}_y, float[1,1,6] {p}_s) {{
      {p}_a = Unsqueeze(x, {w}_one)
      {p}_b = Conv <strides = [{width}]> ({p}_a, {w}_basis)
      {p}_c = Relu({p}_b)
      {p}_d = Conv <pads = [1, 1]> ({p}_c, {w}_conv, {w}_bias)
      {p}_e = Relu({p}_d)
      {p}_f = Transpose <perm = [2, 0, 1]> ({p}_e)
      {p}_g, {p}_s, {p}_h = LSTM <hidden_size = 6> ({p}_f, {w}_input, {w}_hidden, , , state, state)
      {p}_i = Relu({p}_s)
      {p}_j = ReduceMean <axes = [0], keepdims = 0> ({p}_i)
      {p}_y = MatMul({p}_j, {w}_last)
    }}"""


DETECTOR = f"""g (float[1,64] x, float[1,1,6] state, int64 rate) => (float[1,1] y, float[1,1,6] s) {{
  wide = Constant <value_int = 16000> ()
  is_wide = Equal(rate, wide)
  y, s = If (is_wide) <then_branch = {branch("high", 8)}, else_branch = {branch("low", 4)}>
}}"""


def test_a_voice_detector_for_two_rates_shrinks_in_both_branches() -> None:
    rng = np.random.default_rng(2)
    given: dict[str, Array | tuple[int, ...]] = {}
    for rate, width, gone in (("high", 8, [0, 3, 4]), ("low", 4, [1])):
        given[f"in_{rate}_one"] = np.asarray([1], np.int64)
        given[f"in_{rate}_basis"] = masked(rng, (1, width, 10), gone).transpose(2, 0, 1).copy()
        given[f"in_{rate}_conv"] = masked(rng, (10, 3, 12), [2, 5, 6, 7]).transpose(2, 0, 1).copy()
        given[f"in_{rate}_bias"] = masked(rng, (12,), [2, 5, 6, 7])
        given[f"in_{rate}_input"], given[f"in_{rate}_hidden"] = (
            masked(rng, (1, 24, 12), []),
            masked(rng, (1, 24, 6), []),
        )
        given[f"in_{rate}_last"] = masked(rng, (6, 1), [])
    model = network(DETECTOR, rng, given)
    small = upscale_onnx.compile(model, race=False, export="gather", align=1)
    assert small.report.verification.equal
    sizes = [basis * width + 8 * basis * 3 + 8 + 24 * 8 + 24 * 6 + 6 for basis, width in ((7, 8), (9, 4))]
    assert elements(small.model) == sum(sizes)
    feeds = {"x": rng.standard_normal((1, 64)), "state": rng.standard_normal((1, 1, 6))}
    for rate in (8000, 16000):
        given = {name: value.astype(np.float32) for name, value in feeds.items()} | {"rate": np.asarray(rate)}
        for expected, found in zip(Engine(model).run(given), Engine(small.model).run(given), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_zeros_of_a_result_stay_what_they_are() -> None:
    """Both branches make the same channels of zeros, which are results of the model."""
    rng = np.random.default_rng(3)
    given = {"w": (8, 8), "in_yes_a": (8, 8), "in_no_b": (8, 8), "half": np.asarray(0.5, np.float32)}
    text = """g (float[2,8] x) => (float[2,8] y) {
        h = MatMul(x, w)
        top = ReduceMax<keepdims=0>(h)
        c = Greater(top, half)
        y = If(c) <then_branch = yes () => (float[2,8] one) { one = MatMul(h, in_yes_a) },
                   else_branch = no () => (float[2,8] two) { two = MatMul(h, in_no_b) }>
    }"""
    model = network(text, rng, given, dead=0)
    for body in inner_graphs(model.graph):
        values = numpy_helper.to_array(body.initializer[0]).copy()
        values[:, :4] = 0
        body.initializer[0].CopyFrom(numpy_helper.from_array(values, body.initializer[0].name))
    check(model, rng, {})
