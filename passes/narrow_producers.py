"""Narrow producers to the rows that they really compute, and spread the result by a Gather."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.step import Step
from upscale_onnx.model import Shape
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, Rows, constant
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
        behind = {id(steps[item.step].node): _narrow(steps[item.step], item, names, shapes) for item in chosen}
        nodes = []
        for node in graph.nodes:
            nodes.append(node)
            if id(node) in behind:
                nodes.append(behind[id(node)])
        graph.nodes = nodes
        return Changes(len(chosen), shapes.maps[0])


def _narrow(step: Step, item: Narrowing, names: Names, shapes: MutableMapping[str, Shape]) -> gs.Node:
    given = tuple(None if found is None else full_emission(found.shape) for found in step.maps)
    resize = step.rule.resize(step.op, step.maps, given, step.flow.outputs, Rows(item.rows))
    apply_resize(step.node, resize, names)
    target = step.node.outputs[0]
    narrow = gs.Variable(names.fresh(f"{target.name}_narrow"), dtype=target.dtype)
    shape = shapes[target.name]
    dims = tuple(item.rows.size if axis == item.axis else dim for axis, dim in enumerate(shape.dims))
    shapes[narrow.name] = Shape(shape.dtype, dims)
    step.node.outputs = [narrow]
    index = constant(names, f"{target.name}_spread", item.spread)
    name = names.fresh(f"{target.name}_spread")
    return gs.Node("Gather", name, {"axis": item.axis}, [narrow, index], [target])
