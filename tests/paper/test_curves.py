"""The figures' curves are what the rows say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from upscale_onnx.paper.curves import accuracy_gaps, latencies, unpruned_ms
from upscale_onnx.paper.rows import Row
from upscale_onnx.paper.trial import Trial, grid

BASE = Row("m", "0", "d", "", "", "", 0, 0, "cpu", 1, "0", "input", "unconstrained", "l2", "local", 0.1)


def test_the_grid_holds_every_combination_once() -> None:
    trials = grid(("input", "output"), ("constrained",), ("l1", "lamp"), (0.1, 0.1, 0.2), "global")
    assert len(trials) == len(set(trials)) == 8
    assert trials[:2] == (
        Trial("input", "constrained", "l1", "global", 0.1),
        Trial("input", "constrained", "l1", "global", 0.2),
    )


def test_gaps_are_over_the_constrained_row_of_the_same_trial() -> None:
    rows = [
        replace(BASE, amount=0.2, top1=0.5),
        replace(BASE, top1=0.9),
        replace(BASE, method="constrained", top1=0.7),
        replace(BASE, method="constrained", amount=0.2, top1=0.6),
        replace(BASE, method="hybrid", top1=0.8),
        replace(BASE, amount=0.3, top1=0.4),  # has no counterpart
        replace(BASE, criterion="l1", method="constrained", top1=0.1),
        replace(BASE, side="output", method="constrained", top1=0.2),
    ]
    curves, axis = accuracy_gaps(rows)
    assert "points" in axis
    assert [(curve.label, curve.amounts) for curve in curves] == [
        ("l2, input", (0.1, 0.2)),
        ("l2, input, hybrid", (0.1,)),
    ]
    assert curves[0].values == pytest.approx((20, -10))
    assert curves[1].values == pytest.approx((10,))


def test_without_labels_less_distance_is_a_gain() -> None:
    rows = [replace(BASE, distance=0.2), replace(BASE, method="constrained", distance=0.5)]
    (curve,), axis = accuracy_gaps(rows)
    assert "distance" in axis
    assert curve.values == pytest.approx((0.3,))
    assert accuracy_gaps([BASE])[0] == ()


def test_latencies_are_grouped_by_method() -> None:
    timed = replace(
        BASE, unpruned_ms=4.0, baseline_ms=3.0, latency_ms=2.0, ratio=0.6, ratio_low=0.5, ratio_high=0.7, scope="global"
    )
    rows = [
        replace(timed, amount=0.2, latency_ms=1.0),
        timed,
        replace(timed, method="constrained", unpruned_ms=5.0),
        BASE,
    ]
    (first, second) = latencies(rows)
    assert [curve.label for curve in first] == ["l2, input, unconstrained, global"] * 3
    assert [curve.values for curve in first] == [(3.0, 3.0), (2.0, 1.0), (0.6, 0.6)]
    assert (first[2].low, first[2].high) == ((0.5, 0.5), (0.7, 0.7))
    assert second[0].amounts == (0.1,)
    assert unpruned_ms(rows) == 4.0
    assert unpruned_ms([BASE]) is None
