"""The planner: for every value, which selections are made of it and who reads them, by predicted latency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.costs.costs import Costs, itemsize
from upscale_onnx.model import Shape
from upscale_onnx.model.quantiser import QUANTISERS
from upscale_onnx.plan.facility import Assignment, Facility, assign
from upscale_onnx.plan.places import Places, source
from upscale_onnx.plan.selection import Demand, demands, fill_block
from upscale_onnx.types import IntArray

# The time of an elementwise operator, as a share of that of a selection of the same channels with its layout changes.
_PASS = 0.4


@dataclass(frozen=True, eq=False)
class ValuePlan:
    """How the consumers of one value are served. `items` are their demands; services refer to them by index."""

    value: str
    items: tuple[Demand, ...]
    assignment: Assignment
    direct_ms: float

    @property
    def saved_ms(self) -> float:
        """The predicted saving in milliseconds, compared with every consumer reading the whole value."""
        return self.direct_ms - self.assignment.cost_ms


def plan_selections(analysis: Analysis, shapes: Mapping[str, Shape], costs: Costs) -> tuple[ValuePlan, ...]:
    """A plan per value that some consumer reads in part, in graph order.

    A value whose consumers all demand the same channels has no plan: it emits these channels alone.
    """
    places = Places(analysis)
    readers: dict[tuple[str, int], list[Demand]] = defaultdict(list)
    for item in demands(analysis):
        name = analysis.steps[item.step].inputs[item.input]
        readers[places.integers(name, item.axis), item.axis].append(item)
    plans = []
    for (value, _), items in readers.items():
        if any(item.partial for item in items):
            plans.append(_plan_value(analysis, shapes, costs, value, items, places))
    return tuple(plans)


def selected(analysis: Analysis, plans: tuple[ValuePlan, ...], without: frozenset[str]) -> tuple[Demand, ...]:
    """The selections that the plans put in front of consumers, except for values in `without`."""
    found = []
    for plan in plans:
        if plan.value in without:
            continue
        for service in plan.assignment.services:
            if service.positions is None:
                continue
            for consumer in service.consumers:
                item = plan.items[consumer]
                found.append(Demand(item.step, item.input, item.axis, service.positions, item.present))
    return tuple(found)


def _plan_value(
    analysis: Analysis,
    shapes: Mapping[str, Shape],
    costs: Costs,
    value: str,
    items: list[Demand],
    places: Places,
) -> ValuePlan:
    present = items[0].present
    dims, axis = shapes[value].dims, items[0].axis
    rows = [demanded_rows(analysis, item) for item in items]
    # A value with one consumer is selected in front of the elementwise operators that lead to it.
    reads = analysis.steps[items[0].step].inputs[items[0].input]
    way = places.way(reads, axis) if len(items) == 1 else ()
    passed = sum(step.op.op_type not in QUANTISERS for step in way)
    bytes_each = itemsize(shapes[source(way[-1]) if way else value].dtype)

    def copy_ms(channels: int) -> float:
        return costs.selection_ms(dims, axis, channels, False, bytes_each)

    def read_ms(consumer: int, channels: int) -> float:
        step = analysis.steps[items[consumer].step]
        on_the_way = passed * _PASS * copy_ms(channels)
        return on_the_way + costs.contraction_ms(step.op, channels, rows[consumer])

    def fill(positions: IntArray) -> IntArray:
        return fill_block(positions, present, costs.align)

    problem = Facility([item.positions for item in items], read_ms, copy_ms, int(present.size), fill, costs.align)
    direct = sum(read_ms(consumer, int(present.size)) for consumer in range(len(items)))
    return ValuePlan(value, tuple(items), assign(problem), direct)


def demanded_rows(analysis: Analysis, item: Demand) -> int:
    """How many output channels of the consumer are demanded."""
    out = analysis.steps[item.step].flow.outputs[0]
    return 1 if out is None else max(int(analysis.live[out.labels].sum()), 1)
