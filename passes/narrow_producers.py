"""Narrow producers to the rows that they really compute, and spread the result by a Gather."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from upscale_onnx.channels.flow import Request
from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.step import Step
from upscale_onnx.model import Shape
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, Rows, constant, replace_nodes
from upscale_onnx.passes.remove_channels import apply_resize
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.plan.narrowing import Narrowing


@dataclass(frozen=True)
class NarrowProducers(Pass):
    """Narrows the producers that `decide` returns."""

    decide: Callable[[Rewrite], Sequence[Narrowing]]
    purpose: ClassVar = "producers compute one row of zeros in place of many, and a Gather spreads it"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        chosen, graph, steps = self.decide(rewrite), rewrite.graph, rewrite.analysis.steps
        if not chosen:
            return Changes()
        names, shapes = Names(graph), ChainMap[str, Shape]({}, dict(rewrite.shapes))
        narrowed = {id(steps[item.step].node): _narrow(steps[item.step], item, names, shapes) for item in chosen}
        replace_nodes(graph, narrowed)
        return Changes(len(chosen), shapes.maps[0])


def _narrow(step: Step, item: Narrowing, names: Names, shapes: MutableMapping[str, Shape]) -> list[gs.Node]:
    """Narrow the node of `step`. Returns it, and the Gather behind it."""
    given = tuple(None if found is None else full_emission(found.shape) for found in step.maps)
    request = Request(step.maps, given, step.flow.outputs, Rows(item.rows))
    apply_resize(step.node, step.rule.resize(step.op, request), names)
    target = step.node.outputs[0]
    narrow = gs.Variable(names.fresh(f"{target.name}_narrow"), dtype=target.dtype)
    shapes[narrow.name] = shapes[target.name].with_size(item.axis, item.rows.size)
    step.node.outputs = [narrow]
    index = constant(names, f"{target.name}_spread", item.spread)
    name = names.fresh(f"{target.name}_spread")
    return [step.node, gs.Node("Gather", name, {"axis": item.axis}, [narrow, index], [target])]
