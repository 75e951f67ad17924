"""Taking selections back where a race says so."""

from __future__ import annotations

import time
from collections.abc import Iterator

import onnx
import pytest

from tests.plan.models import Net, assert_same, operators
from tests.plan.prices import FREE
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import export
from upscale_onnx.export.planned import planned_values
from upscale_onnx.export.recipes import Making, recipes
from upscale_onnx.model import infer_shapes
from upscale_onnx.racing.refinement import revert
from upscale_onnx.runtime.bench import race
from upscale_onnx.runtime.place import Place

PLANNED = Making(recipes(16)["planned"], FREE)


def copying(size: int = 64, width: int = 64) -> onnx.ModelProto:
    """Large values of which little consumers read nearly all: a selection costs far more than it saves."""
    net = Net()
    value, outputs = "x", []
    for number in range(2):
        inner = width if number else 3
        value = net.op("Sign", net.conv(value, f"wide{number}", net.matrix(width, inner, 1, 1)), f"sign{number}")
        for side, reads in enumerate((range(width - 16), range(16, width))):
            small = net.conv(value, f"out{number}{side}", net.matrix(16, width, 1, 1, reads=reads))
            outputs.append(net.op("ReduceMax", small, f"most{number}{side}", axes=[2, 3], keepdims=0))
    return net.model(outputs, x=(1, 3, size, size))


def selections(model: onnx.ModelProto) -> int:
    return sum(op in ("Slice", "Gather") for op in operators(model))


def _ratios(first: onnx.ModelProto, second: onnx.ModelProto) -> Iterator[float]:
    """The second model's time over the first's, in up to three races: other work on the machine can spoil one."""
    for _ in range(3):
        ratio = race({"first": first, "second": second}, rounds=15, budget_s=3.0).timings[1].ratio
        yield ratio
        if ratio < 1.15:
            return


def test_selections_that_do_not_pay_are_taken_back() -> None:
    model = copying()
    draft = Draft(model, infer_shapes(model))
    # Costs that think copies free plan every selection; the race knows better.
    best = export(PLANNED, draft)
    assert selections(best.model) == 4
    result = revert(draft, planned_values(draft, PLANNED), best, Place("cpu"), 20.0)
    assert result.making is not None
    without = result.making.without
    assert without <= {"sign0", "sign1"}
    assert selections(result.model) == 4 - 2 * len(without)
    assert_same(model, result.model)
    assert min(_ratios(best.model, result.model)) < 1.15
    if without:
        expected = export(result.making, draft).model
        assert result.model.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    else:
        assert result is best


def test_no_budget_changes_nothing() -> None:
    model = copying(16, 32)
    draft = Draft(model, infer_shapes(model))
    best = export(PLANNED, draft)
    assert revert(draft, planned_values(draft, PLANNED), best, Place("cpu"), 0.0) is best


def test_nothing_to_take_back() -> None:
    net = Net()
    model = net.model([net.conv("x", "only", net.matrix(8, 4, 1, 1))], x=(1, 4, 8, 8))
    draft = Draft(model, infer_shapes(model))
    best = export(PLANNED, draft)
    start = time.perf_counter()
    assert revert(draft, planned_values(draft, PLANNED), best, Place("cpu"), 60.0) is best
    assert time.perf_counter() - start < 5.0


@pytest.mark.parametrize("budget_s", [0.5])
def test_the_budget_bounds_the_time(budget_s: float) -> None:
    net = Net()
    value, outputs = "x", []
    for number in range(12):
        wide = net.conv(value, f"wide{number}", net.matrix(32, 32 if number else 3, 1, 1))
        value = net.op("Sign", wide, f"sign{number}")
        outputs += [
            net.conv(value, f"out{number}{side}", net.matrix(16, 32, 1, 1, reads=reads))
            for side, reads in enumerate((range(16), range(16, 32)))
        ]
    model = net.model(outputs, x=(1, 3, 24, 24))
    draft = Draft(model, infer_shapes(model))
    best = export(PLANNED, draft)
    start = time.perf_counter()
    result = revert(draft, planned_values(draft, PLANNED), best, Place("cpu"), budget_s)
    # One trial, with its races of at most 1.5 s, may end after the budget.
    assert time.perf_counter() - start < budget_s + 5.0
    assert result.making is not None
    assert len(result.making.without) < 12
    assert_same(model, result.model)
