"""Remove channels: apply a plan to the graph, node by node.

Weights are cut and permuted, selections shrink, nodes that are not needed are removed. No initializer is
edited in place: each changed use gets a new initializer, and `StoreWeights` merges equal ones later.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.channels.flow import Resize
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.model import Shape, set_input
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, constant, disconnect, remade, replace_nodes, replace_uses
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.plan.plan import Plan
from upscale_onnx.types import Array

_LARGEST_PINNED = 64


@dataclass(frozen=True)
class RemoveChannels(Pass):
    """Rewrites a graph by the plan that `decide` makes for it."""

    decide: Callable[[Rewrite], Plan]
    purpose: ClassVar = "channels that are not demanded are removed"
    ensures: ClassVar = ()

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph. To other passes, the shapes of values that hold other channels are then unknown."""
        graph, plan = rewrite.graph, self.decide(rewrite)
        names = Names(graph)
        _pin_shapes(graph, plan, names)
        changed = 0
        new_nodes: dict[int, list[gs.Node]] = {}
        for step, resize in zip(plan.analysis.steps, plan.resizes, strict=True):
            if resize is None:
                continue
            changed += _apply(step.node, resize, names, new_nodes)
        replace_nodes(graph, new_nodes)
        for name in plan.changed:
            tensor = names.tensors.get(name)
            if isinstance(tensor, gs.Variable):
                tensor.shape = None
        return Changes(changed, dict.fromkeys(plan.changed), resized=_resized(plan, rewrite), plan=plan)


def _resized(plan: Plan, rewrite: Rewrite) -> dict[str, Shape]:
    """The shapes of the values that hold other channels, where they are known."""
    found: dict[str, Shape] = {}
    for name in plan.changed:
        shape, emission = rewrite.shapes.get(name), plan.emissions.get(name)
        if shape is None or emission is None or emission.ndim != shape.rank:
            continue
        for axis in plan.analysis.maps[name].axes:
            shape = shape.with_size(axis, emission.shape[axis])
        found[name] = shape
    return found


def apply_resize(node: gs.Node, resize: Resize, names: Names) -> bool:
    """Give a node its new constants and attributes and disconnect what it no longer reads."""
    for index, values in resize.constants.items():
        _connect(node, index, values, names)
    node.attrs.update(resize.attrs)
    for index in sorted(resize.drop, reverse=True):
        del node.inputs[index]
    for index in resize.absent:
        node.inputs[index] = gs.Variable.empty()
    return bool(resize.constants or resize.attrs or resize.drop or resize.absent)


def _apply(node: gs.Node, resize: Resize, names: Names, new_nodes: dict[int, list[gs.Node]]) -> int:
    if resize.replace is not None:
        apply_resize(node, resize, names)
        shared: dict[int, gs.Tensor] = {}
        new_nodes[id(node)] = [made for new in resize.replace for made in _new_nodes(node, new, names, shared)]
        disconnect(node)
        return 1
    if resize.alias is not None:
        source, target = node.inputs[resize.alias], node.outputs[0]
        disconnect(node)
        if target.name in names.pinned:
            new_nodes[id(node)] = [gs.Node("Identity", node.name, inputs=[source], outputs=[target])]
        else:
            new_nodes[id(node)] = []
            replace_uses(target, source)
            names.tensors[target.name] = source
        return 1
    before = {index: _computed(node, new, names, {}) for index, new in resize.computed.items()}
    changed = apply_resize(node, resize, names)
    for index, made in before.items():
        set_input(node, index, made[-1].outputs[0])
    if before:
        new_nodes[id(node)] = [*(new for made in before.values() for new in made), node]
    return int(changed or bool(before))


def _connect(node: gs.Node, index: int, values: np.ndarray, names: Names) -> None:
    old = node.inputs[index] if index < len(node.inputs) else None
    if old is not None and old.name:
        new = remade(names, old, values)
    else:
        new = constant(names, f"{node.outputs[0].name}_{index}", values)
    while len(node.inputs) < index:
        node.inputs.append(gs.Variable.empty())
    if index < len(node.inputs):
        node.inputs[index] = new
    else:
        node.inputs.append(new)


def _new_nodes(node: gs.Node, new: NewNode, names: Names, shared: dict[int, gs.Tensor]) -> list[gs.Node]:
    """The nodes that make an output of `node` in its place. shared: what nodes that were made before return, by id."""
    outputs = list(node.outputs) if new.output < 0 else [node.outputs[new.output]]
    name = node.name if new.output <= 0 else f"{node.name}_{new.output}" if node.name else ""
    base = f"{node.outputs[max(new.output, 0)].name}_{new.op_type.lower()}"
    made = _made(node, new, names, base, name, outputs, shared)
    shared[id(new)] = outputs[0]
    return made


def _computed(node: gs.Node, new: NewNode, names: Names, shared: dict[int, gs.Tensor]) -> list[gs.Node]:
    """The nodes that compute a new input of `node`. The last one has a single output, which is that input."""
    base = names.fresh(f"{node.outputs[0].name}_{new.op_type.lower()}")
    shared[id(new)] = gs.Variable(base)
    return _made(node, new, names, base, base, [shared[id(new)]], shared)


def _made(
    node: gs.Node, new: NewNode, names: Names, base: str, name: str, outputs: list[gs.Tensor],
    shared: dict[int, gs.Tensor],
) -> list[gs.Node]:  # fmt: skip
    before: list[gs.Node] = []
    inputs: list[gs.Tensor] = []
    for number, item in enumerate(new.inputs):
        if isinstance(item, NewNode):
            before += [] if id(item) in shared else _computed(node, item, names, shared)
            inputs.append(shared[id(item)])
        else:
            inputs.append(_given(node, item, names, f"{base}_{number}"))
    attrs = dict(new.attrs)
    return [*before, gs.Node(new.op_type, name, attrs, inputs, outputs, domain=new.domain)]


def _given(node: gs.Node, item: int | str | Array, names: Names, base: str) -> gs.Tensor:
    """An input of a new node in place of `node`; a constant is named after `base`."""
    if isinstance(item, str):
        return names.tensors[item]
    return node.inputs[item] if isinstance(item, int) else constant(names, base, item)


def _pin_shapes(graph: gs.Graph, plan: Plan, names: Names) -> None:
    """Make nodes that stay read constants in place of values computed from a Shape. Such a value is constant in the
    original graph, but would change where the Shape's input shrinks. Large values (masks) are computed as before, from
    sizes that are constants."""
    constants = plan.analysis.constants
    if not constants.from_shape or not plan.changed:
        return
    computed: set[str] = set()
    for node in reversed(graph.nodes):
        if all(tensor.name in constants and tensor.name not in computed for tensor in node.outputs):
            continue
        for index, tensor in enumerate(node.inputs):
            if tensor.name not in constants.from_shape or tensor.name not in constants:
                continue
            if math.prod(constants.dims(tensor.name) or ()) > _LARGEST_PINNED:
                computed.add(tensor.name)
                continue
            array = constants.array(tensor.name)
            if array is not None:
                node.inputs[index] = names.shared(tensor.name, array)
