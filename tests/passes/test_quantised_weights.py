"""Cuts of weights behind a DequantizeLinear: stored in the weight's own type, with the scales that belong to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from upscale_onnx.export.draft import Draft
from upscale_onnx.model import export_graph, infer_shapes
from upscale_onnx.model.quantiser import Quantiser
from upscale_onnx.passes.editing import Names, remade
from upscale_onnx.passes.pipeline import Pipeline
from upscale_onnx.passes.remove_unread import RemoveUnread
from upscale_onnx.passes.store_weights import StoreWeights
from upscale_onnx.runtime.verify import verify
from upscale_onnx.types import Array

DEAD = [1, 4, 5]
LIVE = [0, 2, 3, 6, 7]
RANGES = {
    "INT8": (-100, 100, 0),
    "UINT8": (0, 255, 128),
    "INT4": (-8, 7, 0),
    "UINT4": (0, 15, 8),
    "FLOAT8E4M3FN": (-8, 8, 0),
}


def tensor(name: str, values: Array, kind: str) -> onnx.TensorProto:
    code = getattr(TensorProto, kind)
    return numpy_helper.from_array(np.asarray(values).astype(helper.tensor_dtype_to_np_dtype(code)), name)


def model(op: str, kind: str, axis: int | None, **attrs: Any) -> onnx.ModelProto:
    """Quantiser, layer, Relu, quantiser, layer. The first layer makes eight channels, of which `DEAD` are zero."""
    rng = np.random.default_rng(4)
    low, high, point = RANGES[kind]
    nodes: list[onnx.NodeProto] = []
    held: list[onnx.TensorProto] = []

    def layer(name: str, shape: tuple[int, ...], rows: int, dead: list[int]) -> None:
        size = () if axis is None else (shape[axis],)
        values = rng.integers(low, high + 1, shape)
        np.moveaxis(values, rows, 0)[dead] = point
        scale = rng.uniform(0.01, 0.1, size).astype(np.float32)
        bias = rng.integers(-900, 900, shape[rows])
        bias[dead] = 0
        held.extend([tensor(f"{name}_q", values, kind), numpy_helper.from_array(scale, f"{name}_s")])
        held.append(tensor(f"{name}_z", np.full(size, point), kind))
        names = [f"{name}_q", f"{name}_s", f"{name}_z"]
        nodes.append(helper.make_node("DequantizeLinear", names, [name], **({} if axis is None else {"axis": axis})))
        held.append(numpy_helper.from_array(bias.astype(np.int32), f"{name}_b"))
        held.append(numpy_helper.from_array(np.asarray(0.05 * scale.mean(), np.float32), f"{name}_bs"))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_b", f"{name}_bs"], [f"{name}_bias"]))

    def quantiser(source: str, name: str) -> None:
        held.extend(
            [numpy_helper.from_array(np.float32(0.05), f"{name}_s"), tensor(f"{name}_z", np.asarray(100), "UINT8")]
        )
        nodes.append(helper.make_node("QuantizeLinear", [source, f"{name}_s", f"{name}_z"], [f"{name}_q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], [name]))

    window = () if op == "Gemm" else (3, 3)
    swapped = op == "ConvTranspose" or (op == "Gemm" and not attrs)
    first, second = ((4, 8), (8, 6)) if swapped else ((8, 4), (6, 8))
    layer("w1", (*first, *window), int(swapped), DEAD)
    layer("w2", (*second, *window), int(swapped), [])
    quantiser("x", "xq")
    nodes.append(helper.make_node(op, ["xq", "w1", "w1_bias"], ["h"], **attrs))
    nodes.append(helper.make_node("Relu", ["h"], ["r"]))
    quantiser("r", "rq")
    nodes.append(helper.make_node(op, ["rq", "w2", "w2_bias"], ["y"], **attrs))
    shape = [2, 4, 6, 6] if window else [5, 4]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))],
        held,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(made)
    return made


FORMS: list[tuple[str, str, int | None, dict[str, int]]] = [
    *[("Conv", kind, axis, {}) for kind in RANGES for axis in (None, 0)],
    ("Conv", "INT8", 1, {}),
    ("ConvTranspose", "INT8", 1, {}),
    ("Gemm", "INT8", 0, {"transB": 1}),
    ("Gemm", "UINT8", 0, {}),
]


@pytest.mark.parametrize(("op", "kind", "axis", "attrs"), FORMS)
def test_a_cut_is_stored_as_the_weight_is(op: str, kind: str, axis: int | None, attrs: dict[str, int]) -> None:
    original = model(op, kind, axis, **attrs)
    result = upscale_onnx.compile(original, export="gather", align=1, race=False)
    before = {t.name: numpy_helper.to_array(t) for t in original.graph.initializer}
    after = {t.name: numpy_helper.to_array(t) for t in result.model.graph.initializer}
    swapped = op == "ConvTranspose" or (op == "Gemm" and not attrs)
    assert after.keys() == before.keys()
    for name, made in (("w1", int(swapped)), ("w2", 1 - int(swapped))):
        np.testing.assert_array_equal(after[f"{name}_q"], np.take(before[f"{name}_q"], LIVE, made))
        assert after[f"{name}_q"].dtype == before[f"{name}_q"].dtype
        for part in ("s", "z"):
            whole = before[f"{name}_{part}"]
            np.testing.assert_array_equal(after[f"{name}_{part}"], whole[LIVE] if axis == made else whole)
    np.testing.assert_array_equal(after["w1_b"], before["w1_b"][LIVE])
    assert result.report.verification is not None
    assert result.report.verification.equal


def test_wrong_scales_are_noticed() -> None:
    original = model("Conv", "INT8", 0)
    small = upscale_onnx.compile(original, export="gather", align=1, race=False).model
    wrong = onnx.ModelProto()
    wrong.CopyFrom(small)
    scales = next(t for t in wrong.graph.initializer if t.name == "w1_s")
    scales.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scales)[::-1].copy(), "w1_s"))
    assert verify(original, small).equal
    assert not verify(original, wrong).equal


def test_a_scale_is_found_for_each_slice_in_any_order() -> None:
    rng = np.random.default_rng(2)
    scale, point = rng.uniform(0.01, 0.1, 6).astype(np.float32), rng.integers(0, 255, 6).astype(np.uint8)
    node = Quantiser("DequantizeLinear", {"axis": 0}, scale, point)
    stored = rng.integers(0, 256, (6, 7)).astype(np.uint8)
    values = node.applied(stored)
    assert values is not None
    order = [4, 0, 5, 2]
    found = node.undone(values[order], np.dtype(np.uint8))
    assert found is not None
    np.testing.assert_array_equal(found[0], stored[order])
    np.testing.assert_array_equal(found[1].scale, scale[order])
    assert node.undone(values[order] + np.float32(0.001), np.dtype(np.uint8)) is None


def test_a_quantiser_and_its_counterpart_keep_the_same_scales() -> None:
    rng = np.random.default_rng(2)
    weight = rng.normal(0, 1, (6, 4)).astype(np.float32)
    scale, point = rng.uniform(0.01, 0.1, 6).astype(np.float32), np.zeros(6, np.int8)
    forth = Quantiser("QuantizeLinear", {"axis": 0}, scale, point, ("s", "z"))
    back = Quantiser("DequantizeLinear", {"axis": 0}, scale, point, ("s", "z"))
    steps = forth.applied(weight)
    assert steps is not None
    values = back.applied(steps)
    assert values is not None
    rows = [1, 2, 5]
    behind = back.undone(values[rows], np.dtype(np.int8))
    assert behind is not None
    front = forth.undone(behind[0], np.dtype(np.float32), behind[1])
    assert front is not None
    np.testing.assert_array_equal(front[1].scale, scale[rows])
    np.testing.assert_array_equal(front[1].applied(front[0]), steps[rows])


def test_a_bias_has_the_scales_of_the_weight_beside_it() -> None:
    """Zeros and large numbers can be expressed by many scales. Only with those of the weight is the layer fused."""
    rng = np.random.default_rng(0)
    step, rows = np.float32(0.05), np.linspace(0.01, 0.02, 32).astype(np.float32)
    weight, reader = rng.integers(-9, 10, (32, 3, 1, 1)).astype(np.int8), rng.integers(1, 9, (4, 32, 1, 1))
    reader[:, ::3] = 0
    bias = rng.integers(30_000, 60_000, 32).astype(np.int32)
    bias[:12] = 0
    vectors = {
        "step": step, "point": np.uint8(9), "w": weight, "ws": rows, "wz": np.zeros(32, np.int8), "b": bias,
        "bs": step * rows, "bz": np.zeros(32, np.int32), "v": reader.astype(np.float32),
    }  # fmt: skip
    text = """<ir_version: 10, opset_import: ["" : 21]> net (float[1,3,4,4] x) => (float[1,4,4,4] y) {
        q = QuantizeLinear(x, step, point)
        d = DequantizeLinear(q, step, point)
        wd = DequantizeLinear<axis=0>(w, ws, wz)
        bd = DequantizeLinear<axis=0>(b, bs, bz)
        h = Conv(d, wd, bd)
        y = Conv(h, v)
    }"""
    given = onnx.parser.parse_model(text)
    given.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in vectors.items())
    result = upscale_onnx.compile(given, export="keep", align=1, race=False)
    made = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer}
    assert made["ws"].shape == (21,)
    np.testing.assert_array_equal(made["bs"], step * made["ws"])
    np.testing.assert_array_equal(made["b"], np.delete(bias, np.s_[::3]))


def test_rows_of_zeros_have_the_scale_of_their_bias() -> None:
    """A row of zeros can be expressed by any scale, its bias by few. The layer is fused only if both have the same."""
    rng = np.random.default_rng(0)
    step, rows = np.float32(0.05), rng.uniform(0.01, 0.02, 16).astype(np.float32)
    weight, bias = rng.integers(-9, 10, (16, 3, 1, 1)).astype(np.int8), rng.integers(1, 999, 16).astype(np.int32)
    weight[[4, 9]], order = 0, rng.permutation(16)
    vectors = {
        "w": weight, "ws": rows, "wz": np.zeros(16, np.int8), "b": bias, "bs": step * rows,
        "bz": np.zeros(16, np.int32), "step": step, "point": np.uint8(9),
    }  # fmt: skip
    text = """<ir_version: 10, opset_import: ["" : 21]> net (float[1,3,4,4] x) => (float[1,16,4,4] y) {
        q = QuantizeLinear(x, step, point)
        d = DequantizeLinear(q, step, point)
        wd = DequantizeLinear<axis=0>(w, ws, wz)
        bd = DequantizeLinear<axis=0>(b, bs, bz)
        y = Conv(d, wd, bd)
    }"""
    given = onnx.parser.parse_model(text)
    given.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(v), k) for k, v in vectors.items() if k != "order"
    )
    now = Draft(given, infer_shapes(given)).take()
    layer, names = next(node for node in now.graph.nodes if node.op == "Conv"), Names(now.graph)
    for index in (1, 2):
        read = layer.inputs[index]
        values = now.analysis.constants.array(read.name)
        assert values is not None
        layer.inputs[index] = remade(names, read, values[order])
    Pipeline((RemoveUnread(), StoreWeights())).run(now)
    made = {t.name: numpy_helper.to_array(t) for t in export_graph(now.graph, given, {}).graph.initializer}
    np.testing.assert_array_equal(made["b"], bias[order])
    np.testing.assert_array_equal(made["ws"], rows[order])
    np.testing.assert_array_equal(made["bs"], step * rows[order])
