"""Objectives and what is wanted of them; the search for where a function crosses zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.graphs import parse, weight
from upscale_onnx.condensa import Constrain, Latency, MACs, Maximize, Minimize, Size, Throughput
from upscale_onnx.condensa.level_set import crossing, posterior
from upscale_onnx.errors import ArgumentError


def product(rows: int = 64, columns: int = 64, batch: str | int = "N") -> Any:
    text = f"(float[{batch}, {rows}] x) => (float[{batch}, {columns}] y) {{ y = MatMul(x, w) }}"
    return parse(text, w=weight(rows, columns, rows=range(rows // 4)))


def test_size_and_macs_count_what_is_not_zero() -> None:
    large, small = product(8, 4), product(4, 4)
    assert Size().measure(large, small) == (24, 12)
    assert Size("bytes").measure(large, small) == (96, 48)
    assert MACs().measure(large, small) == (24, 12)


def test_speed_is_measured_in_turns() -> None:
    large, small = product(1024, 1024), product(16, 16)
    small.graph.input[0].CopyFrom(large.graph.input[0])
    small = parse(
        "(float[N, 1024] x) => (float[N, 16] y) { s = Slice(x, b, e, a) y = MatMul(s, w) }",
        b=np.array([0]),
        e=np.array([16]),
        a=np.array([1]),
        w=weight(16, 16),
    )
    slow, fast = Latency(rounds=7, budget_s=0.2).measure(large, small)
    assert 0 < fast < slow
    slow, fast = Throughput(batch=2, rounds=7, budget_s=0.2).measure(large, small)
    assert fast > slow > 0


def test_a_goal_says_which_values_are_better() -> None:
    assert Maximize(Throughput()).gain(3.0) > Maximize(Throughput()).gain(2.0)
    assert Minimize(Size()).gain(2.0) > Minimize(Size()).gain(3.0)
    assert Constrain(Size(), 100.0).margin(90.0) == pytest.approx(0.1)
    assert Constrain(Throughput(), 100.0).margin(90.0) == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Maximize(Size()), "Size is better the smaller it is: use Minimize"),
        (lambda: Minimize(Throughput()), "Throughput is better the larger it is: use Maximize"),
        (lambda: Constrain(Size(), 0.0), "Size is constrained to 0.0: give a number above 0"),
        (lambda: Minimize(3), "3 is no objective"),  # type: ignore[arg-type]
        (lambda: Size("nodes"), "of is 'nodes'"),  # type: ignore[arg-type]
        (lambda: Latency(batch=0), "batch is 0"),
    ],
)
def test_goals_that_make_no_sense_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)


def falling(kind: str, at: float) -> Callable[[float], float]:
    if kind == "step":
        return lambda x: 0.02 if x <= at else -0.7
    if kind == "line":
        return lambda x: at - x
    return lambda x: 0.02 - 0.9 * max(x - at + 0.1, 0.0) ** 2 * 20 / 9  # 0 at `at`, steeper and steeper


@pytest.mark.parametrize("kind", ["step", "line", "curve"])
@pytest.mark.parametrize("at", [0.13, 0.37, 0.5, 0.86])
def test_the_search_finds_where_accuracy_drops(kind: str, at: float) -> None:
    function, tried = falling(kind, at), list[float]()

    def counted(x: float) -> float:
        tried.append(x)
        return function(x)

    found = crossing(counted, (function(0.0), function(1.0)), samples=12, tolerance=0.03)
    assert found is not None
    assert at - 0.03 <= found <= at + 1e-9
    assert found in tried
    assert len(tried) == len(set(tried)) <= 12


def test_a_search_that_finds_nothing_says_so() -> None:
    assert crossing(lambda x: -1.0, (0.1, -1.0), samples=4, tolerance=0.01) is None


def test_the_process_goes_through_what_was_measured() -> None:
    x, y = np.array([0.0, 0.4, 1.0]), np.array([0.1, 0.0, -0.8])
    mean, deviation = posterior(x, y, np.array([0.0, 0.4, 0.7, 1.0]))
    np.testing.assert_allclose(mean[[0, 1, 3]], y, atol=1e-3)
    assert deviation[2] > 10 * deviation[[0, 1, 3]].max()
