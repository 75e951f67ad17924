"""Calibration: what is timed, how it goes on after an interruption, and what a model is predicted to take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from upscale_onnx.costs.measured import MeasuredCosts
from upscale_onnx.costs.predict import predict
from upscale_onnx.model.kernels import ALONE, Kernel, read_kernels
from upscale_onnx.model.workloads import Workload
from upscale_onnx.runtime import calibrate as runtime_calibrate
from upscale_onnx.runtime.optimise import optimised_model, prepared_model
from upscale_onnx.runtime.standins import stand_in_model, stand_ins
from upscale_onnx.runtime.timing import latency_ms, time_kernels, time_repeated
from upscale_onnx.timing.calibration import calibrate, executed, measured_costs, measured_tables, resolve_target

BLOCK = 8
CONV = Workload("Conv", "blocked", 1, (16, 16), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UPSCALE_ONNX_CACHE", str(tmp_path))
    return tmp_path


def network(width: int = 64) -> onnx.ModelProto:
    """Conv-ReLU, Conv-Add-ReLU, depthwise Conv, mean, Gemm over 16x16 positions and a dynamic batch."""
    rng = np.random.default_rng(0)
    shapes = {"a": (width, 3, 3, 3), "b": (width, width, 3, 3), "d": (width, 1, 3, 3), "g": (width, 10)}
    weights = [
        numpy_helper.from_array(rng.standard_normal(dims).astype(np.float32) / 9, name) for name, dims in shapes.items()
    ]
    weights.append(numpy_helper.from_array(np.asarray([2, 3], np.int64), "axes"))
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p0"], pads=pads),
        helper.make_node("Relu", ["p0"], ["p"]),
        helper.make_node("Conv", ["p", "b"], ["q"], pads=pads),
        helper.make_node("Add", ["q", "p"], ["r0"]),
        helper.make_node("Relu", ["r0"], ["r"]),
        helper.make_node("Conv", ["r", "d"], ["s"], group=width, pads=pads),
        helper.make_node("ReduceMean", ["s", "axes"], ["t"], keepdims=0),
        helper.make_node("Gemm", ["t", "g"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", 1, ["n", 3, 16, 16])], [info("y", 1, ["n", 10])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_stand_ins_cover_whole_blocks_up_to_the_models_counts() -> None:
    found = stand_ins([Kernel("", "Conv", "", 0, CONV, 64, 32)], BLOCK)
    counts = {(k.channels_in, k.channels_out) for k in found if k.workload == CONV}
    assert {(64, 32), (48, 32), (32, 16), (16, 8)} <= counts
    assert all(n % BLOCK == m % BLOCK == 0 and n <= 64 and m <= 32 for n, m in counts)
    assert {k.op_type for k in found if k.workload is None} == {"Slice", "Gather", "Concat", "Add"}
    assert any(k.workload.layout == "plain" for k in found if k.workload is not None)


@pytest.mark.parametrize(
    "kernel",
    [
        Kernel("", "Conv", "", 0, CONV, 32, 16, ALONE),
        Kernel("", "Conv", "", 0, Workload("Conv", "plain", 2, (9,), (3,), (2,), (1,), (1, 1)), 6, 4, ALONE),
        Kernel(
            "", "Conv", "", 0,
            Workload("Conv", "blocked", 1, (8, 8), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (1, 1)), 32, 32, ALONE,
        ),
        Kernel(
            "", "ConvTranspose", "", 0,
            Workload("ConvTranspose", "plain", 1, (4, 4), (2, 2), (2, 2), (1, 1), (0, 0, 0, 0)), 8, 4, ALONE,
        ),
        Kernel("", "Gemm", "", 0, Workload("Gemm", "plain", 3), 20, 10, ALONE),
        Kernel("", "MatMul", "", 0, Workload("MatMul", "plain", 7), 20, 10, ALONE),
    ],
)  # fmt: skip
def test_stand_in_runs_the_workload_that_it_stands_for(kernel: Kernel) -> None:
    model, feed = stand_in_model([kernel])
    onnx.shape_inference.infer_shapes(model, strict_mode=True)
    (found,) = (k for k in read_kernels(model) if k.workload is not None)
    assert found.workload is not None
    assert kernel.workload is not None
    assert found.workload.key.replace("blocked", "plain") == kernel.workload.key.replace("blocked", "plain")
    assert (found.channels_in, found.channels_out) == (kernel.channels_in, kernel.channels_out)
    timed = time_kernels(model, feed, provider="cpu", threads=1, seconds=0.01)
    assert any(k.workload is not None for k, _ in timed)


def test_stand_ins_of_moves_move_what_they_say() -> None:
    moves = [k for k in stand_ins([Kernel("", "Conv", "", 0, CONV, 64, 32)], BLOCK) if k.workload is None]
    model, feed = stand_in_model(moves)
    found = {(k.key, k.moved) for k, _ in time_kernels(model, feed, provider="cpu", threads=1, seconds=0.01)}
    assert {(k.key, k.moved) for k in moves} <= found


def test_repeating_a_node_times_it_where_nodes_cannot_be_told_apart() -> None:
    wide = replace(CONV, spatial=(56, 56))
    pair = [Kernel("", "Conv", "", 0, wide, n, n) for n in (128, 16)]
    (large, slow), (small, fast) = time_repeated(pair, provider="cpu", threads=1, seed=0)
    assert (large.channels_in, small.channels_in) == (128, 16)
    assert large.epilogue == small.epilogue == ALONE
    assert slow > 5 * fast  # 64 times the arithmetic


def test_every_executed_node_is_timed() -> None:
    model = prepared_model(network(), {"x": (2, 3, 16, 16)})
    feed = {"x": np.ones((2, 3, 16, 16), np.float32)}
    timed = time_kernels(model, feed, provider="cpu", threads=1, seconds=0.02)
    executed = read_kernels(optimised_model(model))
    assert [kernel for kernel, _ in timed] == list(executed)
    assert {k.workload.rows for k in executed if k.workload is not None} == {2}


def test_latency_is_what_the_thread_that_runs_the_model_computes() -> None:
    feed = {"x": np.ones((1, 3, 16, 16), np.float32)}
    narrow, wide = (latency_ms(network(n), feed, provider="cpu", threads=1, seconds=0.05) for n in (16, 256))
    assert wide > 20 * narrow > 0  # 2.4 against 600 million multiply-accumulates


def test_calibration_is_kept_and_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_calibrate, "_GROUP_NODES", 6)
    target = resolve_target("cpu")
    stopped = calibrate(network(), target="cpu", budget_s=0.01)
    assert 0 < stopped.timed < stopped.wanted
    done = calibrate(network(), target="cpu", budget_s=20)
    assert done.timed == done.wanted == stopped.wanted
    tables = measured_tables(target)
    assert tables.contractions
    assert json.loads(Path(done.path).read_text())["machine"]["provider"] == "cpu"
    # Measured nodes are predicted as they were measured, whatever else runs on this machine.
    assert done.predicted.measured == pytest.approx(1.0)
    assert predict(executed(network()), tables).ms < predict(executed(network(128)), tables).ms
    assert predict(executed(network(), batch=1), tables).ms < predict(executed(network(), batch=8), tables).ms


def test_interruption_keeps_what_was_measured() -> None:
    def interrupt(stage: str, fraction: float) -> None:
        if fraction > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(network(), target="cpu", budget_s=20, progress=interrupt)
    assert measured_tables(resolve_target("cpu")).contractions


def test_compiler_sees_measured_costs_without_asking(cache: Path) -> None:
    target = resolve_target("cpu")
    assert measured_costs(target) == target.preset
    calibrate(network(), target="cpu", budget_s=1)
    assert isinstance(measured_costs(target), MeasuredCosts)
    assert measured_costs(target, threads=2) == target.preset
    assert measured_costs(resolve_target("openvino")) == resolve_target("openvino").preset
    assert list(cache.rglob("*.json"))
