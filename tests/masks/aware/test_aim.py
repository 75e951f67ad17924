"""Aiming at a measured latency by way of predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.aware.aim import aim_at
from upscale_onnx.masks.aware.allocator import Choice


def choose(least: float = 0.0, step: float = 0.01) -> Callable[[float], Choice]:
    """Masks in steps, down to a predicted share of `least`; the less latency, the more importance."""

    def chosen(aim: float) -> Choice:
        latency = max(np.floor(aim / step + 1e-9) * step, least)
        return Choice({}, 1.0 - latency, float(latency))

    return chosen


@given(goal=st.floats(0.2, 0.95), bias=st.floats(0.7, 1.4))
def test_a_prediction_that_is_off_is_corrected(goal: float, bias: float) -> None:
    measured: list[float] = []

    def measure(choice: Choice) -> float:
        measured.append(choice.latency * bias)
        return measured[-1]

    found = aim_at(goal, choose(), measure)
    assert found.latency * bias <= goal
    assert found.latency * bias >= 0.85 * goal or found.latency > 0.95  # hardly anything had to be pruned
    assert len(measured) <= 5


def test_a_goal_that_is_met_at_once_is_measured_once() -> None:
    calls: list[Choice] = []

    def measure(choice: Choice) -> float:
        calls.append(choice)
        return choice.latency

    assert aim_at(0.7, choose(), measure).latency == pytest.approx(0.68)
    assert len(calls) == 1


def test_what_cannot_be_reached_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"latency 0\.3 cannot be reached: pruning all that may go leaves 0\.50"):
        aim_at(0.3, choose(least=0.5), lambda choice: choice.latency)


def test_where_noise_hides_the_goal_the_fastest_is_taken() -> None:
    noise = iter([0.9, 0.8, 0.85, 0.9, 0.9])
    tried: list[Choice] = []

    def measure(choice: Choice) -> float:
        tried.append(choice)
        return next(noise)

    assert aim_at(0.7, choose(), measure) is tried[1]
