"""Values on which selections are planned: integers, of which every reader has its own DequantizeLinear."""

from __future__ import annotations

import numpy as np

from tests.graphs import parse, weight
from tests.plan.prices import FREE
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.plan.places import Places
from upscale_onnx.plan.planner import plan_selections

MODEL = parse(
    """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
        a = Conv(x, w1)
        q = QuantizeLinear(a, s, p)
        d = DequantizeLinear(q, s, p)
        e = DequantizeLinear(q, s, p)
        y = Conv(d, w2)
        z = Conv(e, w3)
    }""",
    w1=weight(4, 3, 1, 1), w2=weight(2, 4, 1, 1, columns=[1]), w3=weight(2, 4, 1, 1),
    s=np.asarray(1, np.float32), p=np.asarray(8, np.uint8),
)  # fmt: skip


def test_readers_of_one_quantised_value_are_planned_together() -> None:
    shapes = infer_shapes(MODEL)
    analysis = analyse(import_graph(MODEL), shapes)
    (plan,) = plan_selections(analysis, shapes, FREE)
    assert (plan.value, len(plan.items)) == ("q", 2)


def test_a_selection_stops_behind_a_quantizelinear_of_floating_point_numbers() -> None:
    shapes = infer_shapes(MODEL)
    places = Places(analyse(import_graph(MODEL), shapes))
    assert [step.op.name for step in places.way("d", 1)] == ["d"]
    assert places.integers("d", 1) == places.integers("q", 1) == "q"
    assert places.integers("a", 1) == "a"
