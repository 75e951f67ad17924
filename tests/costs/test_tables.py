"""Measured tables: what they return at, between and away from what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from upscale_onnx.costs.predict import predict
from upscale_onnx.costs.tables import Tables
from upscale_onnx.costs.targets import target
from upscale_onnx.model.kernels import Kernel
from upscale_onnx.model.workloads import Workload

BLOCKED = Workload("Conv", "blocked", 1, (14, 14), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
DEPTHWISE = replace(BLOCKED, per_group=(1, 1))


def conv(channels_in: int, channels_out: int, workload: Workload = BLOCKED, epilogue: str = "") -> Kernel:
    return Kernel("", "Conv", "", 0, workload, channels_in, channels_out, epilogue)


def grid(factor: float = 1.0) -> list[tuple[Kernel, float]]:
    """Times of a machine whose convolutions take a launch and their arithmetic."""
    counts = (16, 32, 48, 64)
    return [(conv(n, m), factor * (0.01 + n * m * 1e-4)) for n in counts for m in counts]


@pytest.fixture
def tables() -> Tables:
    return Tables(target("cpu", 16)).with_times(grid())


def test_measured_points_are_returned_as_they_are(tables: Tables) -> None:
    for kernel, ms in grid():
        assert tables.kernel_ms(kernel) == pytest.approx(ms)
        assert tables.has(kernel)


def test_counts_of_one_block_cost_the_same(tables: Tables) -> None:
    assert tables.contraction_ms(BLOCKED, 52, 36) == tables.contraction_ms(BLOCKED, 64, 48)


def test_plain_kernels_are_not_rounded(tables: Tables) -> None:
    plain = replace(BLOCKED, layout="plain")
    wide = tables.with_times([(conv(63, 64, plain), 0.8), (conv(31, 64, plain), 0.4)])
    assert wide.contraction_ms(plain, 31, 64) == pytest.approx(0.4)
    assert wide.contraction_ms(plain, 40, 64) < wide.contraction_ms(plain, 60, 64)


def test_between_measured_points_the_time_is_between_theirs() -> None:
    coarse = Tables(target("cpu", 16)).with_times(
        [e for e in grid() if {e[0].channels_in, e[0].channels_out} <= {16, 64}]
    )
    between = coarse.contraction_ms(BLOCKED, 32, 64)
    assert between == pytest.approx(0.01 + 32 * 64 * 1e-4, rel=0.05)


def test_beyond_measured_points_the_time_grows(tables: Tables) -> None:
    assert tables.contraction_ms(BLOCKED, 128, 128) == pytest.approx(0.01 + 128 * 128 * 1e-4, rel=0.1)


def test_one_measurement_scales_the_preset() -> None:
    single = Tables(target("cpu", 16)).with_times([(conv(64, 64), 1.0)])
    assert single.contraction_ms(BLOCKED, 64, 64) == pytest.approx(1.0)
    assert 0.2 < single.contraction_ms(BLOCKED, 32, 64) < 0.8


def test_shape_that_was_not_measured_agrees_with_its_neighbours() -> None:
    slow = Tables(target("cpu", 16)).with_times(grid(10.0))
    fast = Tables(target("cpu", 16)).with_times(grid(1.0))
    other = replace(BLOCKED, spatial=(28, 28))
    assert slow.contraction_ms(other, 64, 64) == pytest.approx(10 * fast.contraction_ms(other, 64, 64))


def test_smallest_of_repeated_measurements_counts_and_the_median_of_alike_nodes(tables: Tables) -> None:
    again = tables.with_times(
        [(conv(64, 64), 9.0), (conv(32, 32), 0.001), (conv(32, 32), 0.002), (conv(32, 32), 0.003)]
    )
    assert again.contraction_ms(BLOCKED, 64, 64) == pytest.approx(tables.contraction_ms(BLOCKED, 64, 64))
    assert again.contraction_ms(BLOCKED, 32, 32) == pytest.approx(0.002)


def test_times_that_are_none_are_left_out(tables: Tables) -> None:
    spoilt = tables.with_times([(conv(80, 80), float("nan")), (conv(80, 64), 0.0)])
    assert not spoilt.has(conv(80, 80))
    assert not spoilt.has(conv(80, 64))


def test_depthwise_goes_by_its_channels() -> None:
    times = [(conv(n, n, DEPTHWISE), 0.001 + n * 1e-4) for n in (32, 64, 96, 128)]
    tables = Tables(target("cpu", 16)).with_times(times)
    assert tables.contraction_ms(DEPTHWISE, 80, 80) == pytest.approx(0.009, rel=0.05)


def test_epilogue_costs_what_it_was_measured_to_cost(tables: Tables) -> None:
    bare = tables.contraction_ms(BLOCKED, 64, 64)
    summed = tables.with_times([(conv(64, 64, epilogue="Sum"), 1.5 * bare)])
    assert summed.contraction_ms(BLOCKED, 64, 64, "Sum") == pytest.approx(1.5 * bare)
    half = summed.contraction_ms(BLOCKED, 32, 32)
    assert summed.contraction_ms(BLOCKED, 32, 32, "Sum") == pytest.approx(1.5 * half)
    other = replace(BLOCKED, spatial=(28, 28))
    assert summed.contraction_ms(other, 64, 64, "Sum") == pytest.approx(1.5 * summed.contraction_ms(other, 64, 64))


def test_moves_go_by_their_bytes() -> None:
    times = [(Kernel("", "Gather", "Gather/14x14", moved), 0.002 + moved * 1e-7) for moved in (10_000, 50_000, 100_000)]
    tables = Tables(target("cpu", 16)).with_times(times)
    assert tables.move_ms("Gather/14x14", 75_000) == pytest.approx(0.0095, rel=0.05)
    assert tables.move_ms("Gather/28x28", 50_000) > 0
    assert tables.move_ms("Reshape/", 0) == 0


def test_prediction_adds_up(tables: Tables) -> None:
    kernels = (conv(64, 64), conv(32, 32), Kernel("", "Softmax", "Softmax/", 4000))
    found = predict(kernels, replace(tables, node_ms=0.01))
    assert found.ms == pytest.approx(sum(map(tables.kernel_ms, kernels)) + 0.03)
    assert found.contraction_ms == pytest.approx(sum(map(tables.kernel_ms, kernels[:2])))
    assert [operator for operator, _ in found.by_operator] == ["Conv", "Softmax"]
    assert 0 < found.measured < 1
