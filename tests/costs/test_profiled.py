"""Costs by a profile: every contraction is found in it, and times scale as arithmetic does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.plan.models import Net
from tests.plan.prices import Prices
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.channels.op import Op
from upscale_onnx.costs.costs import PresetCosts, own_counts
from upscale_onnx.costs.profiled import NodeTime, ProfiledCosts, contraction_times, selection_price
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import recipes
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.racing.refinement import profiled_costs
from upscale_onnx.runtime.place import Place
from upscale_onnx.runtime.profile import profile_operators

CONTRACTIONS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def resnet() -> onnx.ModelProto:
    """Residual blocks with every fusion that onnxruntime knows, odd channel counts, and a head."""
    net = Net()

    def conv(source: str, name: str, inner: int, out: int, window: int = 3, **attrs: object) -> str:
        weight = net.rng.normal(size=(out, inner, window, window)).astype(np.float32)
        return net.conv(source, name, weight, net.rng.normal(size=out), pads=[window // 2] * 4, **attrs)

    value = net.op("Relu", conv("x", "stem", 3, 32), "stem_relu")
    for block in range(2):
        inner = net.op("Relu", conv(value, f"first{block}", 32, 32), f"inner{block}")
        total = net.op("Add", [conv(inner, f"second{block}", 32, 32), value], f"sum{block}")
        value = net.op("Relu", total, f"relu{block}")
    # A projection on the other branch: two convolutions feed the Add.
    down = conv(value, "down", 32, 64, 1, strides=[2, 2])
    inner = net.op("Relu", conv(value, "strided", 32, 64, strides=[2, 2]), "strided_relu")
    value = net.op("Relu", net.op("Add", [conv(inner, "deep", 64, 64), down], "projected"), "projected_relu")
    scale = [net.weight(f"bn{i}", net.rng.uniform(0.5, 1.5, 64).astype(np.float32)) for i in range(4)]
    value = net.op("Clip", net.op("BatchNormalization", [conv(value, "normed", 64, 64), *scale], "bn"), "clip")
    value = net.op("Sigmoid", conv(value, "odd", 64, 22), "odd_sigmoid")
    value = net.op("HardSigmoid", conv(value, "wide", 22, 64), "hard")
    given = [value, net.weight("up_w", net.rng.normal(size=(64, 16, 2, 2)).astype(np.float32))]
    value = net.op("Relu", net.op("ConvTranspose", given, "up", strides=[2, 2]), "up_relu")
    value = net.op("Flatten", net.op("GlobalAveragePool", value, "pooled"), "flat")
    value = net.op("MatMul", [value, net.weight("mm_w", net.rng.normal(size=(16, 40)).astype(np.float32))], "mm")
    value = net.op("Add", [value, net.weight("mm_b", net.rng.normal(size=40).astype(np.float32))], "biased")
    value = net.op("Relu", value, "mm_relu")
    value = net.op("MatMul", [value, net.weight("plain_w", net.rng.normal(size=(40, 24)).astype(np.float32))], "plain")
    head = [net.weight(f"g{rank}", net.rng.normal(size=(10, 24)[:rank]).astype(np.float32)) for rank in (2, 1)]
    value = net.op("Relu", net.op("Gemm", [value, *head], "gemm", transB=1), "y")
    return net.model([value], x=(1, 3, 16, 16))


def times_of(model: onnx.ModelProto) -> list[NodeTime]:
    return [NodeTime(entry.op_type, entry.node, entry.ms) for entry in profile_operators(model, runs=3)]


def test_every_contraction_is_found_in_a_profile_once() -> None:
    model = resnet()
    profile = times_of(model)
    found = contraction_times(model, profile)
    assert found.keys() == {node.name for node in model.graph.node if node.op_type in CONTRACTIONS}
    # Each one has a time of its own: those of as many executed contractions, all there are.
    kernels = {entry.node: entry.ms for entry in profile if any(kind in entry.op_type for kind in CONTRACTIONS)}
    assert len(kernels) == len(found)
    assert sorted(found.values()) == sorted(kernels.values())


def test_a_fused_name_belongs_to_the_contraction_in_front() -> None:
    net = Net()
    a = net.conv("x", "a", net.matrix(8, 4, 1, 1))
    b = net.conv("x", "b", net.matrix(8, 4, 1, 1))
    relu = net.op("Relu", net.op("Add", [a, b], "sum"), "relu")
    model = net.model([net.conv(relu, "c", net.matrix(8, 8, 1, 1))], x=(1, 4, 4, 4))
    profile = [NodeTime("Conv", "a_nchwc", 1.0), NodeTime("Conv", "relu_nchwc", 2.0), NodeTime("Conv", "c_nchwc", 3.0)]
    assert contraction_times(model, profile) == {"node_a": 1.0, "node_b": 2.0, "node_c": 3.0}


def test_a_name_is_taken_once() -> None:
    net = Net()
    a = net.conv("x", "a", net.matrix(8, 4, 1, 1))
    b = net.conv("x", "b", net.matrix(8, 4, 1, 1))
    model = net.model([net.op("Add", [a, b], "sum")], x=(1, 4, 4, 4))
    found = contraction_times(model, [NodeTime("Conv", "sum_nchwc", 2.0)])
    assert list(found.values()) == [2.0]


def test_values_that_others_read_are_not_fused() -> None:
    net = Net()
    a = net.conv("x", "a", net.matrix(8, 4, 1, 1))
    model = net.model([net.op("Relu", a, "relu"), net.op("Neg", a, "neg")], x=(1, 4, 4, 4))
    assert contraction_times(model, [NodeTime("Conv", "relu_nchwc", 2.0)]) == {}


def test_nodes_without_a_name_go_by_their_value() -> None:
    net = Net()
    net.conv("x", "a", net.matrix(8, 4, 1, 1))
    model = net.model(["a"], x=(1, 4, 4, 4))
    model.graph.node[0].name = ""
    found = contraction_times(model, [NodeTime("Conv", "a_nchwc", 2.0)])
    (step,) = analyse(import_graph(model), infer_shapes(model)).steps
    assert ProfiledCosts(PresetCosts(1), found).contraction_ms(step.op, 4, 8) == pytest.approx(2.0)


def ops_of(model: onnx.ModelProto) -> dict[str, Op]:
    return {step.op.name: step.op for step in analyse(import_graph(model), infer_shapes(model)).steps}


def test_own_counts_of_every_form() -> None:
    net = Net()
    conv = net.conv("x", "conv", net.matrix(12, 4, 1, 1))
    grouped = net.conv(conv, "grouped", net.matrix(6, 4, 1, 1), group=3)
    given = [grouped, net.weight("up_w", np.ones((6, 5, 2, 2), np.float32))]
    flat = net.op("Flatten", net.op("GlobalAveragePool", net.op("ConvTranspose", given, "up"), "pool"), "flat")
    gemm = net.op("Gemm", [flat, net.weight("gemm_w", np.ones((7, 5), np.float32))], "gemm", transB=1)
    turned = net.op("Gemm", [gemm, net.weight("turned_w", np.ones((7, 9), np.float32))], "turned")
    right = net.op("MatMul", [turned, net.weight("right_w", np.ones((9, 3), np.float32))], "right")
    turn = net.op("Transpose", right, "turn", perm=[1, 0])
    left = net.op("MatMul", [net.weight("left_w", np.ones((2, 3), np.float32)), turn], "left")
    ops = ops_of(net.model([left], x=(1, 4, 4, 4)))
    expected = {
        "conv": (4, 12),
        "grouped": (12, 6),
        "up": (6, 5),
        "gemm": (5, 7),
        "turned": (7, 9),
        "right": (9, 3),
        "left": (3, 2),
    }
    assert {name: own_counts(ops[f"node_{name}"]) for name in expected} == expected
    assert own_counts(ops["node_pool"]) is None


def test_times_scale_as_the_base_does() -> None:
    model = resnet()
    ops = ops_of(model)
    costs = ProfiledCosts(Prices(align=8), {"node_deep": 3.0, "node_gemm": 0.5})
    assert costs.align == 8
    assert costs.contraction_ms(ops["node_deep"], 64, 64) == pytest.approx(3.0)
    assert costs.contraction_ms(ops["node_deep"], 32, 64) == pytest.approx(1.5)
    assert costs.contraction_ms(ops["node_deep"], 32, 16) == pytest.approx(0.375)
    assert costs.contraction_ms(ops["node_gemm"], 12, 10) == pytest.approx(0.25)
    # Not in the profile: the base's own.
    assert costs.contraction_ms(ops["node_plain"], 40, 24) == 40 * 24


def test_a_base_that_knows_no_time_gives_its_own() -> None:
    op = ops_of(resnet())["node_deep"]
    assert ProfiledCosts(Prices(macs=0.0), {"node_deep": 3.0}).contraction_ms(op, 32, 64) == 0.0


def test_selections_cost_by_the_byte() -> None:
    base = Prices(copy=5.0)
    dims = (1, 64, 10, 10)
    assert ProfiledCosts(base, {}).selection_ms(dims, 1, 32, False) == 5.0
    costs = ProfiledCosts(base, {}, selection_ms_per_byte=1e-5, selection_launch_ms=0.25)
    assert costs.selection_ms(dims, 1, 32, False) == pytest.approx(0.25 + 1e-5 * 4 * 32 * 100)
    # What the base says is free (a view) stays free.
    assert replace(costs, base=Prices()).selection_ms(dims, 1, 32, True) == 0.0


def test_arithmetic_of_a_product_from_the_left_counts_its_columns() -> None:
    net = Net()
    left = net.op("MatMul", [net.weight("left_w", np.ones((32, 16), np.float32)), "x"], "left")
    turn = net.op("Transpose", "x", "turn", perm=[1, 0])
    turned = net.op("MatMul", [turn, net.weight("right_w", np.ones((16, 32), np.float32))], "right")
    ops = ops_of(net.model([left, turned], x=(16, 1000)))
    costs = PresetCosts(align=1, launch_ms=0.0)
    assert costs.contraction_ms(ops["node_left"], 16, 32) == pytest.approx(32 * 16 * 1000 / costs.macs_per_ms)
    assert costs.contraction_ms(ops["node_left"], 16, 32) == costs.contraction_ms(ops["node_right"], 16, 32)


def selective() -> onnx.ModelProto:
    """A wide value of which two convolutions read different halves."""
    net = Net()
    value = net.op("Relu", net.conv("x", "shared", net.matrix(64, 3, 3, 3), pads=[1, 1, 1, 1]), "relu")
    outs = [
        net.op("GlobalAveragePool", net.conv(value, f"out{i}", net.matrix(16, 64, 1, 1, reads=reads)), f"pool{i}")
        for i, reads in enumerate((range(48), range(16, 64)))
    ]
    return net.model(outs, x=(1, 3, 48, 48))


def test_selections_have_a_price() -> None:
    model = selective()
    narrowed = make(recipes(16)["upscale"], model, infer_shapes(model))
    moved = 2 * 4.0 * 48 * 48 * 48
    after, before = times_of(narrowed), times_of(model)
    price = selection_price(narrowed, after, before)
    copies = sum(entry.ms for entry in after if entry.op_type in ("Slice", "Gather"))
    assert copies > 0
    assert price is not None
    # Layout changes cost at least half of the copies that they belong to.
    assert price >= 1.5 * copies / moved * (1 - 1e-9)


def test_a_price_counts_the_layout_changes() -> None:
    model = selective()
    narrowed = make(recipes(16)["upscale"], model, infer_shapes(model))
    names = [node.name for node in narrowed.graph.node if node.op_type in ("Slice", "Gather")]
    moved = 2 * 4.0 * 48 * 48 * 48
    after = [*(NodeTime("Gather", name, 1.0) for name in names), NodeTime("ReorderOutput", "ReorderOutput", 7.0)]
    before = [NodeTime("ReorderInput", "ReorderInput", 2.0)]
    assert selection_price(narrowed, after, before) == pytest.approx((2.0 + 5.0) / moved)
    assert selection_price(narrowed, after, after) == pytest.approx((2.0 + 1.0) / moved)


def test_without_selections_there_is_no_price() -> None:
    model = selective()
    assert selection_price(model, times_of(model), []) is None


def test_costs_of_a_model_on_this_machine() -> None:
    model = selective()
    costs = profiled_costs(Draft(model, infer_shapes(model)), 16, None, Place("cpu"))
    assert isinstance(costs, ProfiledCosts)
    assert costs.align == 16
    assert costs.contraction_times.keys() == {"node_shared", "node_out0", "node_out1"}
    assert costs.selection_ms_per_byte is not None
    assert costs.selection_ms_per_byte > 0
    op = ops_of(model)["node_out0"]
    assert costs.contraction_ms(op, 64, 16) == pytest.approx(costs.contraction_times["node_out0"])
    assert 0 < costs.contraction_ms(op, 32, 16) < costs.contraction_ms(op, 64, 16)
