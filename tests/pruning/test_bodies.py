"""Weights in bodies of If, Loop and Scan are scored and pruned like those of the main graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.channels.test_bodies import network
from upscale_onnx.candidates.space import Space
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.targets import constant_tensors, mask_targets
from upscale_onnx.model import load_model
from upscale_onnx.model.protos import inner_graphs
from upscale_onnx.options import Options
from upscale_onnx.pruning.criteria import CRITERIA
from upscale_onnx.pruning.evidence import Evidence
from upscale_onnx.results import Result
from upscale_onnx.types import Array

IF = """g (float[n,8] x, bool c) => (float[n,10] y) {
  a = MatMul(x, w)
  t = If (c) <
    then_branch = yes () => (float[n,8] r1) { b = MatMul(a, in_yes_up)
                                              d = Relu(b)
                                              r1 = MatMul(d, in_yes_down) },
    else_branch = no () => (float[n,8] r2) { b = MatMul(a, in_no_up)
                                             d = Tanh(b)
                                             r2 = MatMul(d, in_no_down) }
  >
  y = MatMul(t, v)
}"""
OF_IF = {
    "w": (8, 8), "in_yes_up": (8, 16), "in_yes_down": (16, 8), "in_no_up": (8, 16), "in_no_down": (16, 8), "v": (8, 10),
}  # fmt: skip
LOOP = """g (float[n,8] x, int64 rounds) => (float[n,10] y) {
  go = Constant <value = bool {1}> ()
  h = MatMul(x, w)
  t = Loop (rounds, go, h) <
    body = round (int64 i, bool on, float[n,8] held) => (bool still, float[n,8] next) {
      still = Identity(on)
      b = MatMul(held, in_round_up)
      d = Relu(b)
      e = MatMul(d, in_round_down)
      next = Tanh(e)
    }
  >
  y = MatMul(t, v)
}"""
OF_LOOP = {"w": (8, 8), "v": (8, 10), "in_round_up": (8, 16), "in_round_down": (16, 8)}
SCAN = """g (float[s,n,8] x, float[n,8] x0) => (float[s,n,10] y) {
  h = MatMul(x0, w)
  t, z = Scan <num_scan_inputs = 1, body = cell (float[n,8] held, float[n,8] p) => (float[n,8] next, float[n,16] out) {
      a = MatMul(p, in_cell_in)
      b = MatMul(held, in_cell_own)
      d = Add(a, b)
      next = Tanh(d)
      e = MatMul(next, in_cell_up)
      out = Relu(e)
  }> (h, x)
  y = MatMul(z, v)
}"""
OF_SCAN = {"w": (8, 8), "in_cell_in": (8, 8), "in_cell_own": (8, 8), "in_cell_up": (8, 16), "v": (16, 10)}
SHARED = """g (float[n,8] x, bool c) => (float[n,10] y) {
  a = MatMul(x, w)
  t = If (c) <
    then_branch = yes () => (float[n,8] r1) { b = MatMul(a, up)
                                              d = Relu(b)
                                              r1 = MatMul(d, down) },
    else_branch = no () => (float[n,8] r2) { b = MatMul(a, up)
                                             r2 = MatMul(b, down) }
  >
  y = MatMul(t, v)
}"""
OF_SHARED = {"w": (8, 8), "v": (8, 10), "up": (8, 16), "down": (16, 8)}
NESTED = LOOP.replace("b = MatMul(held, in_round_up)", "").replace("d = Relu(b)", "").replace(
    "e = MatMul(d, in_round_down)",
    """e = If (c) <
        then_branch = yes () => (float[n,8] r1) { b = MatMul(held, in_yes_up)
                                                  d = Relu(b)
                                                  r1 = MatMul(d, in_yes_down) },
        else_branch = no () => (float[n,8] r2) { b = MatMul(held, in_no_up)
                                                 r2 = MatMul(b, in_no_down) }
      >""",
).replace("int64 rounds", "int64 rounds, bool c")  # fmt: skip


def made(text: str, weights: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    """A network without zeros in its weights."""
    return load_model(network(text, np.random.default_rng(0), weights, dead=0))


def pruned(model: onnx.ModelProto, **options: object) -> Result:
    """The model with half of all channels pruned."""
    return upscale_onnx.compile(model, amount=0.5, race=False, align=1, **options)  # type: ignore[arg-type]


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights, by name."""
    return {target.weight: target.shape for target in mask_targets(model)}


@pytest.mark.parametrize(
    ("text", "weights"),
    [(IF, OF_IF), (LOOP, OF_LOOP), (SCAN, OF_SCAN), (SHARED, OF_SHARED), (NESTED, OF_IF)],
    ids=["if", "loop", "scan", "captured", "nested"],
)
def test_half_of_all_channels_leave(text: str, weights: dict[str, tuple[int, ...]]) -> None:
    """The channels of x (8) and of the result (10) stay, and what a Scan reads of x is chosen by its layer alone."""
    result = pruned(made(text, weights), method="constrained")
    whole = {("w", 0), ("in_cell_in", 0), ("v", 1)}
    for name, shape in shapes(result.model).items():
        assert shape == tuple(n if (name, axis) in whole else n // 2 for axis, n in enumerate(weights[name])), name
    assert result.report.verification.equal
    sizes = [sum(rows * columns for rows, columns in shapes(model).values()) for model in (result.masked, result.model)]
    constants = result.report.before.parameters - sizes[0]
    assert result.report.after.parameters == sizes[1] + constants


@pytest.mark.parametrize("options", [{}, {"scope": "global"}, {"method": "hybrid"}, {"side": "output"}, {"macs": 0.5}])
def test_other_options_reach_bodies(options: dict[str, object]) -> None:
    options = {"amount": None if "macs" in options else 0.5, "race": False, "align": 1, **options}
    result = upscale_onnx.compile(made(NESTED, OF_IF), **options)  # type: ignore[arg-type]
    after = shapes(result.model)
    assert all(np.prod(after[name]) < np.prod(OF_IF[name]) for name in OF_IF if name.startswith("in_"))
    assert result.report.after.macs < 0.6 * result.report.before.macs


def test_a_mask_goes_to_the_weight_of_its_branch() -> None:
    """The branches use the same names for their values, weights and nodes."""
    rng = np.random.default_rng(0)
    model = network(IF, rng, {name: rng.standard_normal(shape).astype(np.float32) for name, shape in OF_IF.items()})
    for body in inner_graphs(model.graph):
        for tensor in body.initializer:
            tensor.name = tensor.name.replace(f"_{body.name}_", "_")
        for node in body.node:
            node.name = f"a {node.op_type}"
            node.input[:] = [name.replace(f"_{body.name}_", "_") for name in node.input]
    loaded = load_model(model)
    names = [node.name for body in inner_graphs(loaded.graph) for node in body.node]
    assert len(set(names)) == len(names) == 6
    assert set(shapes(loaded)) == {"w", "in_up", "in_down", "in_up_1", "in_down_1", "v"}
    before = constant_tensors(loaded)
    masked = constant_tensors(upscale_onnx.compile(model, amount=0.5, race=False, align=1, method="constrained").masked)
    for name in ("in_down", "in_down_1"):
        rows = np.square(numpy_helper.to_array(before[name])).sum(1)
        kept = numpy_helper.to_array(masked[name]).any(1)
        assert kept.sum() == 8
        assert rows[kept].min() > rows[~kept].max()


def rounds_by_hand(model: onnx.ModelProto, x: Array, count: int) -> tuple[Array, Array]:
    """What `up` and `down` of the Loop read in all rounds: (rows, 8) and (rows, 16)."""
    held = {name: numpy_helper.to_array(tensor) for name, tensor in constant_tensors(model).items()}
    state, read, inner = x @ held["w"], [], []
    for _ in range(count):
        read.append(state)
        inner.append(np.maximum(state @ held["in_round_up"], 0))
        state = np.tanh(inner[-1] @ held["in_round_down"])
    return np.concatenate(read), np.concatenate(inner)


def scores(model: onnx.ModelProto, criterion: str, **batch: Array) -> dict[str, Array]:
    """The scores on one batch of calibration data."""
    evidence = Evidence(model, Options.of(criterion=criterion), [batch])
    return dict(CRITERIA[criterion].score(evidence))


def test_values_of_all_rounds_score_the_channels_of_a_loop() -> None:
    model = made(LOOP, OF_LOOP)
    x = np.random.default_rng(1).standard_normal((6, 8)).astype(np.float32)
    found = scores(model, "mean-activation", x=x, rounds=np.asarray(3))
    for name, values in zip(("in_round_up", "in_round_down"), rounds_by_hand(model, x, 3), strict=True):
        np.testing.assert_allclose(found[name], np.abs(values).mean(0), rtol=1e-5)


def test_labels_belong_to_the_samples_of_each_round() -> None:
    """The first unit of `x` tells the classes apart in all rounds, so its channel scores best."""
    model = made(LOOP, OF_LOOP)
    tensors = constant_tensors(model)
    for name, size in (("w", (8, 8)), ("in_round_up", (8, 16)), ("in_round_down", (16, 8))):
        tensors[name].CopyFrom(numpy_helper.from_array(np.eye(*size, dtype=np.float32), name))
    rng, classes = np.random.default_rng(1), np.arange(12) % 2
    x = np.abs(rng.standard_normal((12, 8))).astype(np.float32)
    x[:, 0] = 1 + classes
    evidence = Evidence(model, Options.of(criterion="tvs"), [{"x": x, "rounds": np.asarray(3)}], classes)
    assert CRITERIA["tvs"].score(evidence)["in_round_up"].argmax() == 0


@pytest.mark.parametrize("taken", [True, False])
def test_what_a_branch_makes_is_scored_if_it_is_taken(taken: bool) -> None:
    x = np.random.default_rng(1).standard_normal((6, 8)).astype(np.float32)
    model = made(NESTED, OF_IF)
    found = scores(model, "mean-activation", x=x, rounds=np.asarray(2), c=np.asarray(taken))
    assert found.keys() == OF_IF.keys() - {"in_no_down" if taken else "in_yes_down"}


def test_scan_axes_of_other_outputs_stay() -> None:
    """An output that is stacked along axis 1 stays so, while others are watched."""
    text = SCAN.replace("num_scan_inputs = 1,", "num_scan_inputs = 1, scan_output_axes = [1],").replace(
        "[s,n,10]", "[n,s,10]"
    )
    x = np.random.default_rng(1).standard_normal((4, 6, 8)).astype(np.float32)
    plain, moved = (scores(made(form, OF_SCAN), "mean-activation", x=x, x0=x[0]) for form in (SCAN, text))
    assert plain.keys() == moved.keys() == OF_SCAN.keys()
    np.testing.assert_allclose(plain["in_cell_own"], moved["in_cell_own"])


def test_what_grows_from_round_to_round_is_not_watched() -> None:
    """A Loop cannot return values of several sizes; other layers are scored nevertheless."""
    text = LOOP.replace("next = Tanh(e)", "next = Concat<axis=0>(held, e)").replace(
        "float[n,8] held", "float[m,8] held"
    )
    model = made(text.replace("float[n,8] next", "float[k,8] next"), OF_LOOP)
    x = np.random.default_rng(1).standard_normal((6, 8)).astype(np.float32)
    assert scores(model, "mean-activation", x=x, rounds=np.asarray(3)).keys() == {"w", "v"}


def test_mask_files_and_profiles_name_weights_in_bodies(tmp_path: Path) -> None:
    model = made(IF, OF_IF)
    file = tmp_path / "masks.json"
    file.write_text('{"in_yes_down": {"pruned": [0, 1, 2]}}')
    with_file = upscale_onnx.compile(model, mask=str(file), race=False, align=1)
    assert shapes(with_file.model)["in_yes_up"] == (8, 13)
    space = Space.of(model, Options.of(race=False, align=1))
    assert [one.weights for one in space.decisions] == [(name,) for name in OF_IF]
    masks = space.masks([1.0, 1.0, 0.25, 1.0, 1.0, 1.0])
    assert shapes(write_masks(model, masks)[0]) == shapes(model)
    assert masks["in_yes_down"].sum() == 4
    assert space.candidate_of(masks).stats.parameters == space.stats.parameters - 12 * (8 + 8)


def test_quantised_weights_in_bodies_are_pruned() -> None:
    """Weights stored in integers, one of them in the body and one that the body captures."""
    model = made(LOOP, OF_LOOP)
    (body,) = inner_graphs(model.graph)
    integers = np.random.default_rng(0).integers(-90, 90, (16, 8)).astype(np.int8)
    for name, graph in (("in_round_up", body), ("in_round_down", model.graph)):
        kept = [tensor for tensor in body.initializer if tensor.name != name]
        del body.initializer[:]
        body.initializer.extend(kept)
        array = integers.T.copy() if name == "in_round_up" else integers
        graph.initializer.append(numpy_helper.from_array(array, f"{name}_q"))
        graph.initializer.append(numpy_helper.from_array(np.float32(0.01), f"{name}_s"))
        body.node.insert(0, helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s"], [name]))
    onnx.checker.check_model(model, full_check=True)
    result = pruned(model, method="constrained")
    sizes = {
        tensor.name: list(tensor.dims)
        for graph in (result.model.graph, *inner_graphs(result.model.graph))
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.INT8
    }
    assert sizes == {"in_round_up_q": [4, 8], "in_round_down_q": [8, 4]}
