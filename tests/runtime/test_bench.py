from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.errors import ArgumentError, ModelError, ProviderError
from upscale_onnx.model import save_model
from upscale_onnx.results import OperatorTotal
from upscale_onnx.runtime import bench, operator_totals, profile_operators, race
from upscale_onnx.runtime.profile import OperatorTime
from upscale_onnx.runtime.sessions import make_session
from upscale_onnx.worker import in_process


def mlp(width: int, layers: int = 4) -> onnx.ModelProto:
    """x: (n, 64) through `layers` square layers of `width`."""
    sizes = [64, *[width] * layers, 8]
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=pair).astype(np.float32), f"w{i}")
        for i, pair in enumerate(itertools.pairwise(sizes))
    ]
    nodes = [helper.make_node("MatMul", [f"v{i}", f"w{i}"], [f"v{i + 1}"]) for i in range(len(weights))]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("v0", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info(f"v{len(weights)}", TensorProto.FLOAT, ["n", 8])],
        weights,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_a_larger_model_is_slower(tmp_path: Path) -> None:
    save_model(mlp(768), tmp_path / "large.onnx")
    found = race({"large": tmp_path / "large.onnx", "small": mlp(192)}, rounds=9, budget_s=5, batch=16)
    large, small = found.timings
    assert found.winner == "small"
    assert large.ratio == 1.0
    assert small.ratio < 0.6
    assert 0 < small.p10_ms <= small.median_ms <= small.p90_ms
    assert small.median_ms < large.median_ms
    assert bench.MIN_ROUNDS <= found.rounds <= 9
    assert found.threads == 1
    assert gc.isenabled()


def test_the_order_rotates_and_hopeless_runners_drop_out(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"first": 2.0, "fast": 1.0, "close": 1.2, "slow": 1.3}
    turns: list[str] = []

    def timed(infer: object, iterations: int) -> float:
        name = infer()  # type: ignore[operator]
        turns.append(name)
        return seconds[name]

    monkeypatch.setattr(bench, "_median_seconds", timed)
    runners = [bench._Runner(name, lambda name=name: name) for name in seconds]  # type: ignore[misc]
    assert bench._run_rounds(runners, 8, 1000.0, eliminate=True) == 8
    assert turns[:12] == [
        *("first", "fast", "close", "slow"),
        *("fast", "close", "slow", "first"),
        *("close", "slow", "first", "fast"),
    ]
    assert {runner.name: len(runner.seconds) for runner in runners} == {"first": 8, "fast": 8, "close": 8, "slow": 3}
    assert bench._timing(runners[3], runners[0]).ratio == 0.65


def test_ratios_compare_the_same_rounds() -> None:
    """A machine that slows down half-way must not change a ratio."""
    reference = bench._Runner("a", object, seconds=[1.0, 1.0, 1.0, 8.0, 8.0], rounds=[0, 1, 2, 3, 4])
    other = bench._Runner("b", object, seconds=[0.5, 0.5, 0.5, 4.0, 4.0], rounds=[0, 1, 2, 3, 4])
    assert bench._timing(other, reference).ratio == 0.5


def test_a_small_budget_still_makes_seven_rounds() -> None:
    assert race({"a": mlp(32)}, rounds=100, budget_s=0.0).rounds == bench.MIN_ROUNDS


def test_given_inputs_are_used() -> None:
    found = race({"a": mlp(32), "b": mlp(32)}, rounds=7, inputs={"v0": np.ones((3, 64), np.float32)})
    assert len(found.timings) == 2
    with pytest.raises(ModelError, match="a: onnxruntime cannot run the model"):
        race({"a": mlp(32)}, inputs={"v0": np.ones((3, 63), np.float32)})


def test_a_ratio_has_an_interval_and_the_batch_is_told() -> None:
    found = race({"a": mlp(64), "b": mlp(512)}, rounds=9, budget_s=2, batch=4)
    reference, other = found.timings
    assert found.batch == 4
    assert (reference.ratio_low, reference.ratio_high) == (1.0, 1.0)
    assert other.ratio_low is not None
    assert other.ratio_high is not None
    assert 1 < other.ratio_low <= other.ratio <= other.ratio_high


def test_another_runtime_takes_part() -> None:
    feeds: list[dict[str, np.ndarray[Any, Any]]] = []

    def engine(feed: dict[str, np.ndarray[Any, Any]]) -> Callable[[], object]:
        feeds.append(feed)
        return lambda: time.sleep(0.002)

    found = race({"a": mlp(32), "other": engine}, rounds=7, inputs={"v0": np.ones((3, 64), np.float32)})
    assert [list(feed) for feed in feeds] == [["v0"]]
    assert 2 <= found.timings[1].median_ms < 50
    with pytest.raises(ArgumentError, match="give the inputs"):
        race({"other": engine})


def test_who_cannot_run_is_left_out_where_that_is_asked_for() -> None:
    narrow = mlp(32)
    narrow.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    told: list[str] = []
    runners = {"a": mlp(32), "two": narrow, "b": mlp(48)}
    found = race(runners, rounds=7, batch=5, skip=lambda name, error: told.append(f"{name}|{error}"))
    assert [timing.name for timing in found.timings] == ["a", "b"]
    assert len(told) == 1
    assert told[0].startswith("two|two: onnxruntime cannot run the model")
    with pytest.raises(ModelError, match="two: "):
        race(runners, batch=5)


def test_a_session_left_to_the_cpu_is_not_timed_as_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "make_session", lambda model, **asked: make_session(model))
    with in_process(), pytest.raises(ProviderError, match="a: onnxruntime did not run it on cuda"):
        race({"a": mlp(32)}, provider="cuda")


def test_nothing_to_race_and_models_that_do_not_run_are_told_in_one_line() -> None:
    with pytest.raises(ArgumentError, match="nothing to race"):
        race({})
    broken = mlp(32)
    broken.graph.node[0].input[1] = "nowhere"
    with pytest.raises(ModelError, match=r"^b: onnxruntime cannot load the model") as caught:
        race({"a": mlp(32), "b": broken})
    assert "\n" not in str(caught.value)
    assert gc.isenabled()


def test_a_profile_names_every_operator_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    times = profile_operators(mlp(256), runs=5)
    assert [t.op_type for t in times] == ["MatMul"] * 5
    assert all(t.ms > 0 for t in times)
    assert [t.ms for t in times] == sorted((t.ms for t in times), reverse=True)
    assert {t.provider for t in times} == {"CPUExecutionProvider"}
    assert list(tmp_path.iterdir()) == []
    (total,) = operator_totals(times)
    assert (total.op_type, total.nodes) == ("MatMul", 5)
    assert total.ms == pytest.approx(sum(t.ms for t in times))


def test_totals_are_by_type_the_slowest_first() -> None:
    times = [OperatorTime("Conv", "a", 2.0), OperatorTime("Relu", "b", 5.0), OperatorTime("Conv", "c", 4.0)]
    assert operator_totals(times) == (OperatorTotal("Conv", 2, 6.0), OperatorTotal("Relu", 1, 5.0))
