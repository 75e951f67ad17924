"""Plans of real graphs: who is handed a selection, and what it is said to save."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plan.models import Net, assert_same, operators, weight_shapes
from tests.plan.prices import DEAR, FREE, Prices
from tests.thorough import examples
from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.costs.costs import Costs
from upscale_onnx.costs.profiled import NodeTime
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import make
from upscale_onnx.export.planned import planned_values
from upscale_onnx.export.recipes import Making, recipes
from upscale_onnx.model import Shape, import_graph, infer_shapes
from upscale_onnx.plan.planner import ValuePlan, plan_selections, selected
from upscale_onnx.racing.decisions import decisions

CHANNELS = 16
PLANNED = recipes(1)["planned"]


def fork(*reads: range | list[int], through: tuple[str, ...] = ()) -> onnx.ModelProto:
    """One convolution whose value is read by a convolution for each of `reads`, the first behind some operators."""
    net = Net()
    shared = net.conv("x", "shared", net.matrix(CHANNELS, 3, 1, 1), net.rng.integers(1, 4, CHANNELS))
    outputs = []
    for number, channels in enumerate(reads):
        source = shared
        for depth, op_type in enumerate(through if number == 0 else ()):
            source = net.op(op_type, source, f"way{depth}")
        outputs.append(net.conv(source, f"out{number}", net.matrix(5, CHANNELS, 1, 1, reads=list(channels))))
    return net.model(outputs, x=(1, 3, 4, 4))


def planned(model: onnx.ModelProto, costs: Costs) -> tuple[Analysis, dict[str, Shape], tuple[ValuePlan, ...]]:
    shapes = infer_shapes(model)
    analysis = analyse(import_graph(model), shapes)
    return analysis, shapes, plan_selections(analysis, shapes, costs)


def handed(
    analysis: Analysis, plans: tuple[ValuePlan, ...], without: frozenset[str] = frozenset()
) -> dict[str, list[int]]:
    """Positions by the node that is handed them."""
    return {analysis.steps[item.step].op.name: item.positions.tolist() for item in selected(analysis, plans, without)}


@pytest.mark.parametrize("through", [(), ("Relu",), ("LeakyRelu",), ("Softplus", "Neg")])
def test_selections_are_timed_with_the_consumer_that_they_are_for(through: tuple[str, ...]) -> None:
    model = fork(range(8), range(4, 16), through=through)
    shapes = infer_shapes(model)
    planned = planned_values(Draft(model, shapes), Making(PLANNED, FREE))
    analysis, plans = planned.analysis, planned.plans
    compiled = make(PLANNED, model, shapes, FREE)
    profile = [
        NodeTime(node.op_type, node.name, {"Conv": 1.0, "Slice": 10.0, "Gather": 10.0}.get(node.op_type, 100.0))
        for node in compiled.graph.node
    ]
    assert operators(compiled).count("Slice") == 2
    found = decisions(analysis, plans, frozenset(), (), compiled, profile)
    assert sum(decision.measured_ms or 0.0 for decision in found) == 2 * 1.0 + 2 * 10.0
    assert not any(decision.taken_back for decision in found)
    without = decisions(analysis, plans, frozenset(plan.value for plan in plans), (), compiled, profile)
    assert [d.taken_back for d in without] == [plan.saved_ms > 0 for plan in plans]
    assert any(d.taken_back for d in without)
    assert {way for d in without for way in d.lowerings} == {"keep"}


def test_free_copies_give_every_consumer_what_it_demands() -> None:
    analysis, _, plans = planned(fork(range(8), range(4, 16), [0, 5, 9]), FREE)
    assert handed(analysis, plans) == {
        "node_out0": list(range(8)),
        "node_out1": list(range(4, 16)),
        "node_out2": [0, 5, 9],
    }
    (plan,) = plans
    assert plan.value == "shared"
    assert plan.direct_ms == 3 * 16 * 5
    assert plan.saved_ms == pytest.approx((8 + 4 + 13) * 5)


def test_dear_copies_give_nobody_anything() -> None:
    analysis, _, plans = planned(fork(range(8), range(4, 16), [0, 5, 9]), DEAR)
    assert handed(analysis, plans) == {}
    assert [plan.saved_ms for plan in plans] == [0.0]


def test_infinite_prices_are_no_saving() -> None:
    _, _, plans = planned(fork(range(8), range(8, 16), through=("Relu",)), Prices(copy=math.inf))
    assert all(not plan.saved_ms > 0 for plan in plans)
    assert all(service.positions is None for plan in plans for service in plan.assignment.services)


def test_a_consumer_that_reads_all_is_handed_nothing() -> None:
    analysis, _, plans = planned(fork(range(16), range(4)), FREE)
    assert handed(analysis, plans) == {"node_out1": [0, 1, 2, 3]}


def test_a_value_that_all_read_whole_is_not_planned() -> None:
    _, _, plans = planned(fork(range(16), range(16)), FREE)
    assert plans == ()


def test_dead_channels_are_no_reason_for_a_selection() -> None:
    _, _, plans = planned(fork(range(8), range(8)), FREE)
    assert plans == ()


@pytest.mark.parametrize("costs", [FREE, DEAR], ids=["free", "dear"])
def test_what_all_want_is_all_that_there_is(costs: Costs) -> None:
    """Consumers that agree need no selection: their channels are the value's, whatever selections cost."""
    model = fork([2, 3, 7], [2, 3, 7], [2, 3, 7])
    compiled = make(PLANNED, model, infer_shapes(model), costs)
    assert_same(model, compiled)
    assert operators(compiled) == ["Conv"] * 4
    assert weight_shapes(compiled) == {"node_shared": (3, 3, 1, 1)} | {
        f"node_out{number}": (5, 3, 1, 1) for number in range(3)
    }


def test_two_that_want_nearly_the_same_share_a_selection() -> None:
    model = fork(range(6), range(7), range(16))
    analysis, _, plans = planned(model, Prices(copy=12.0))
    assert handed(analysis, plans) == {"node_out0": list(range(7)), "node_out1": list(range(7))}
    (plan,) = plans
    # 16 channels become 7 twice, for one copy.
    assert plan.saved_ms == pytest.approx(2 * 9 * 5 - 12.0)
    compiled = make(PLANNED, model, infer_shapes(model), Prices(copy=12.0))
    assert operators(compiled) == ["Conv", "Slice", "Conv", "Conv", "Conv"]


def test_values_left_out_are_not_selected() -> None:
    analysis, _, plans = planned(fork(range(8), range(8, 16)), FREE)
    assert set(handed(analysis, plans)) == {"node_out0", "node_out1"}
    assert handed(analysis, plans, frozenset({"shared"})) == {}
    assert handed(analysis, plans, frozenset({"other"})) == handed(analysis, plans)


def test_selections_fill_blocks_of_present_channels() -> None:
    analysis, _, plans = planned(fork([0, 1, 2], range(3, 16)), Prices(align=4))
    found = handed(analysis, plans)
    assert {name: len(positions) for name, positions in found.items()} == {"node_out0": 4}
    assert {0, 1, 2} <= set(found["node_out0"])


def test_operators_on_the_way_count_as_saved() -> None:
    # Behind two operators that only it reads, a selection is worth more than its copy costs.
    model = fork([*range(12)], [*range(4, 16)], through=("Relu", "Sigmoid"))
    price = Prices(per_channel=1.0, macs=0.0)
    _, _, plans = planned(model, price)
    by_value = {plan.value: plan for plan in plans}
    assert by_value.keys() == {"way1", "shared"}
    # 2 operators at 0.4 of a selection's price, over 16 channels.
    assert by_value["way1"].direct_ms == pytest.approx(2 * 0.4 * 16)
    assert by_value["shared"].direct_ms == 0.0


def test_operators_that_others_read_do_not_count() -> None:
    net = Net()
    shared = net.conv("x", "shared", net.matrix(CHANNELS, 3, 1, 1))
    relu = net.op("Relu", shared, "relu")
    way = net.op("Neg", relu, "way")
    out = net.conv(way, "out", net.matrix(5, CHANNELS, 1, 1, reads=range(4)))
    model = net.model([out, relu], x=(1, 3, 4, 4))
    _, _, plans = planned(model, Prices(per_channel=1.0, macs=0.0))
    (plan,) = plans
    assert plan.value == "way"
    # Only Neg is passed: the value in front of it is an output of the graph.
    assert plan.direct_ms == pytest.approx(0.4 * CHANNELS)


@pytest.mark.parametrize("name", ["planned", "upscale", "gather"])
def test_a_selection_that_two_ways_lead_to_stands_before_both(name: str) -> None:
    # The value that is planned first has a reader that runs last and shares its selection with an earlier one.
    net = Net()
    shared = net.conv("x", "shared", net.matrix(CHANNELS, 3, 1, 1))
    relu = net.op("Relu", shared, "relu")
    first = net.conv(shared, "first", net.matrix(4, CHANNELS, 1, 1, reads=range(4, 16)))
    behind = net.conv(relu, "behind", net.matrix(4, CHANNELS, 1, 1, reads=range(6)))
    last = net.conv(shared, "last", net.matrix(4, CHANNELS, 1, 1, reads=range(6)))
    model = net.model([first, behind, last], x=(1, 3, 4, 4))
    compiled = make(recipes(1)[name], model, infer_shapes(model), FREE)
    assert_same(model, compiled)
    assert sum(op in ("Slice", "Gather") for op in operators(compiled)) == 2


def test_plans_are_those_of_the_narrowed_graph() -> None:
    # What is planned for a race to take back must be what the export makes.
    net = Net()
    left = net.conv("x", "left", net.matrix(16, 3, 1, 1, zero=range(8)))
    right = net.conv("x", "right", net.matrix(16, 3, 1, 1, zero=range(8, 16)))
    total = net.op("Relu", net.op("Add", [left, right], "sum"), "total")
    halves = (range(10), range(6, 16))
    outs = [net.conv(total, f"out{i}", net.matrix(5, 16, 1, 1, reads=half)) for i, half in enumerate(halves)]
    model = net.model(outs, x=(1, 3, 4, 4))
    shapes = infer_shapes(model)
    values = {
        plan.value for plan in planned_values(Draft(model, shapes), Making(PLANNED, FREE)).plans if plan.saved_ms > 0
    }
    assert values == {"total"}
    compiled = make(PLANNED, model, shapes, FREE)
    bare = make(PLANNED, model, shapes, FREE, without=frozenset(values))
    assert_same(model, compiled)
    assert_same(model, bare)
    copies = [sum(op in ("Slice", "Gather") for op in operators(found)) for found in (compiled, bare)]
    assert copies[0] > copies[1]


@st.composite
def forks(draw: st.DrawFn) -> onnx.ModelProto:
    reads = draw(st.lists(st.sets(st.integers(0, CHANNELS - 1), min_size=1), min_size=1, max_size=5))
    through = draw(st.lists(st.sampled_from(("Relu", "Neg", "Abs")), max_size=2))
    return fork(*(sorted(found) for found in reads), through=tuple(through))


@settings(max_examples=examples(20))
@given(forks(), st.floats(0, 60), st.floats(0, 4), st.sampled_from((1, 4)))
def test_a_plan_saves_what_it_says_and_computes_the_same(
    model: onnx.ModelProto, copy: float, per_channel: float, align: int
) -> None:
    costs = Prices(copy, per_channel, align=align)
    _, shapes, plans = planned(model, costs)
    for plan in plans:
        assert plan.saved_ms >= -1e-9
        assert plan.saved_ms == pytest.approx(plan.direct_ms - plan.assignment.cost_ms)
        taken = [service for service in plan.assignment.services if service.positions is not None]
        assert (plan.saved_ms > 1e-9) <= bool(taken)
        for service in taken:
            assert service.positions is not None
            for consumer in service.consumers:
                item = plan.items[consumer]
                assert np.isin(item.positions, service.positions).all()
                assert np.isin(service.positions, item.present).all()
    assert_same(model, make(recipes(align)["planned"], model, shapes, costs))
