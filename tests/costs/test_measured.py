"""Measured costs as planners see them, and the bound that follows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.channels.op import Op
from upscale_onnx.costs.costs import own_counts
from upscale_onnx.costs.measured import MeasuredCosts, op_workload
from upscale_onnx.costs.tables import Tables
from upscale_onnx.costs.targets import target
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.model.kernels import Kernel
from upscale_onnx.model.workloads import Workload
from upscale_onnx.plan.bound import Bound, latency_bound

CPU = Tables(target("cpu", 16))
WORKLOAD = Workload("Conv", "blocked", 1, (14, 14), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))


def conv_op(channels_in: int = 64, channels_out: int = 64, group: int = 1) -> Op:
    weight = np.ones((channels_out, channels_in // group, 3, 3), np.float32)
    return Op(
        "Conv",
        attrs={"pads": [1, 1, 1, 1], "group": group},
        constants=(None, weight),
        present=(True, True),
        in_dims=((None, channels_in, 14, 14), weight.shape),
        out_dims=((None, channels_out, 14, 14),),
        dtypes=(1, 1),
    )


def test_analysed_node_and_executed_node_have_one_workload() -> None:
    assert op_workload(conv_op(), 64, 64, CPU) == WORKLOAD
    assert op_workload(conv_op(), 33, 64, CPU) == replace(WORKLOAD, layout="plain")
    assert op_workload(conv_op(group=64), 48, 48, CPU) == replace(WORKLOAD, per_group=(1, 1))
    assert own_counts(conv_op(group=64)) == (64, 64)


def test_contraction_costs_what_was_measured() -> None:
    tables = CPU.with_times([(Kernel("", "Conv", "", 0, WORKLOAD, n, 64), n / 64) for n in (16, 32, 48, 64)])
    costs = MeasuredCosts(tables)
    assert costs.align == 16
    assert costs.contraction_ms(conv_op(), 48, 64) == pytest.approx(0.75)
    assert costs.contraction_ms(conv_op(), 36, 64) == pytest.approx(0.75)  # a whole block more
    assert costs.contraction_ms(conv_op(), 0, 64) == 0


def test_node_that_cannot_be_told_costs_what_the_preset_says() -> None:
    unknown = replace(conv_op(), in_dims=(None, None))
    assert MeasuredCosts(CPU).contraction_ms(unknown, 64, 64) == CPU.target.preset.contraction_ms(unknown, 64, 64)


def test_selection_in_the_blocked_layout_pays_for_leaving_and_entering_it() -> None:
    full, part = 4 * 64 * 196, 4 * 32 * 196
    times = {"Gather": (full + part, 0.01), "ReorderOutput": (2 * full, 0.02), "ReorderInput": (2 * part, 0.03)}
    tables = CPU.with_times(
        [(Kernel("", name, f"{name}/14x14", moved), ms) for name, (moved, ms) in times.items()], node_ms=0.001
    )
    costs = MeasuredCosts(tables)
    assert costs.selection_ms((1, 64, 14, 14), 1, 32, contiguous=False) == pytest.approx(0.063)
    assert costs.selection_ms((1, 64, 14, 14), 1, 16, contiguous=False) < 0.063
    assert MeasuredCosts(Tables(target("openvino"))).selection_ms((1, 64, 14, 14), 1, 32, contiguous=True) == 0


def chain(zero: int) -> onnx.ModelProto:
    """Two Convs of 64 channels; the second reads none of the first `zero` channels between them."""
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 64, 14, 14] x) => (float[1, 64, 14, 14] y)'
        " <float[64, 64, 3, 3] a, float[64, 64, 3, 3] b>"
        "{ p = Conv <pads = [1, 1, 1, 1]> (x, a) q = Relu (p) y = Conv <pads = [1, 1, 1, 1]> (q, b) }"
    )
    model = onnx.parser.parse_model(text)
    weights = {name: np.ones((64, 64, 3, 3), np.float32) for name in "ab"}
    weights["b"][:, :zero] = 0
    del model.graph.initializer[:]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    return model


def bound(zero: int, input_ms: float) -> Bound:
    model = chain(zero)
    tables = CPU.with_times(
        [(Kernel("", "Conv", "", 0, WORKLOAD, n, m), n * m / 4096) for n in (16, 32, 48, 64) for m in (16, 32, 48, 64)]
    )
    return latency_bound(analyse(import_graph(model), infer_shapes(model)), MeasuredCosts(tables), input_ms)


def test_bound_counts_demanded_blocks_and_scales_the_rest() -> None:
    found = bound(32, input_ms=3.0)
    assert found.full_ms == pytest.approx(2.0)
    assert found.demanded_ms == pytest.approx(1.0)
    assert found.kept == pytest.approx(0.5)
    assert found.bound_ms == pytest.approx(1.0 + 0.5)
    assert found.ratio == pytest.approx(0.5)


def test_bound_of_a_part_of_a_block_is_that_of_the_block() -> None:
    assert bound(20, input_ms=2.0).demanded_ms == pytest.approx(bound(16, input_ms=2.0).demanded_ms)


def test_bound_of_a_dense_model_is_its_latency() -> None:
    assert bound(0, input_ms=2.5).ratio == pytest.approx(1.0)
