"""The analysis of a graph: channel maps and contents forward, demand backward, refusals with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from upscale_onnx.channels import rules as _rules
from upscale_onnx.channels.carried import weaker_contents
from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap
from upscale_onnx.channels.classes import Classes
from upscale_onnx.channels.constants import find_constants
from upscale_onnx.channels.demand import demand
from upscale_onnx.channels.fitting import check_outputs, completed
from upscale_onnx.channels.flow import Flow, Read, Rule
from upscale_onnx.channels.known_sizes import KnownSizes
from upscale_onnx.channels.malformed import fault_of
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import rule_for
from upscale_onnx.channels.room import Room
from upscale_onnx.channels.rules.barrier import BARRIER
from upscale_onnx.channels.rules.infinities import moved
from upscale_onnx.channels.rules.shape import SHAPE, STATED_SHAPE, can_state
from upscale_onnx.channels.step import Step
from upscale_onnx.channels.view import node_inputs, opset_of, view
from upscale_onnx.errors import InternalError, Reason
from upscale_onnx.model import Graph, Node, Shape
from upscale_onnx.model.known import Constants
from upscale_onnx.model.operators import FRAGILE, STANDARD_DOMAINS
from upscale_onnx.results import Refusal
from upscale_onnx.types import BoolArray, FloatArray

# How many times a graph is analysed until what its loops hand on settles. Once is enough where there are none.
_MOST_ROUNDS = 16
assert _rules.__all__, "importing the rules registers them"


@dataclass(frozen=True, eq=False)
class Analysis:
    """What is known about the channels of a graph.

    steps: the nodes computed at run time, in graph order. maps: channel maps by value name, with
    class ids resolved. live, kept, fixed: per class id, whether it is demanded, whether it is demanded or padding,
    and whether its order must stay. needed: per step, whether a result depends on it. alone: values whose nodes are
    left alone.
    """

    steps: tuple[Step, ...]
    maps: Mapping[str, ChannelMap]
    live: BoolArray
    kept: BoolArray
    fixed: BoolArray
    needed: tuple[bool, ...]
    refusals: tuple[Refusal, ...]
    constants: Constants
    inputs: tuple[str, ...]
    outputs: frozenset[str]
    opset: int
    alone: frozenset[str] = frozenset()


def analyse(graph: Graph, shapes: Mapping[str, Shape], alone: frozenset[str] = frozenset()) -> Analysis:
    """Analyse the main graph. `shapes` are the inferred shapes of its values. Nodes that compute a value in `alone`
    become barriers.

    Raises:
        InternalError: a rule fails on a valid node.
    """
    opset = opset_of(graph, "")
    constants = find_constants(graph, {name: shape.dims for name, shape in shapes.items()}, opset)
    taken: dict[str, FloatArray] = {}
    for number in range(_MOST_ROUNDS):
        forward = _Forward(graph, shapes, constants, alone, taken)
        for node in graph.nodes:
            forward.visit(node)
        weaker = weaker_contents(forward.steps, sure=number >= _MOST_ROUNDS // 2)
        if not weaker:
            return forward.finish()
        taken.update(weaker)
    raise InternalError("what loops hand on did not settle")


class _Forward:
    """One sweep in graph order that collects steps. Class ids are resolved at its end."""

    def __init__(
        self,
        graph: Graph,
        shapes: Mapping[str, Shape],
        constants: Constants,
        alone: frozenset[str],
        taken: Mapping[str, FloatArray],
    ) -> None:
        self._graph, self._shapes, self._constants, self._alone = graph, shapes, constants, alone
        self._taken = taken
        self._classes = Classes()
        self._room = Room(constants.weight_bytes)
        self._maps: dict[str, ChannelMap] = {}
        self.steps: list[Step] = []
        self._refusals: list[Refusal] = []
        self._outputs = frozenset(tensor.name for tensor in graph.outputs)
        self._opset = opset_of(graph, "")
        for tensor in graph.inputs:
            self._open(tensor.name)
        self._used = self._count_uses()
        self._sizes = KnownSizes(graph, constants)

    def _count_uses(self) -> set[str]:
        used = set(self._outputs)
        for node in self._graph.nodes:
            used.update(node_inputs(node))
        return used

    def _open(self, name: str) -> None:
        """Give a graph input a map without channel axes."""
        shape = self._shapes.get(name)
        if shape is None or name in self._constants:
            return
        ones = (1,) * len(shape.dims)
        self._maps[name] = ChannelMap(self._classes.fresh(1).reshape(ones), np.full(ones, VARYING))

    def visit(self, node: Node) -> None:
        outputs = tuple(tensor.name for tensor in node.outputs)
        if outputs and all(name in self._constants or not name for name in outputs) and not self._sizes.is_run(node):
            return
        names = node_inputs(node)
        used = tuple(bool(name) and name in self._used for name in outputs)
        opsets = opset_of(self._graph, node.domain), self._opset
        op = view(node, names, self._constants, self._shapes, opsets, used)
        maps = tuple(self._maps.get(name) if name and name not in self._constants else None for name in names)
        rule, flow = self._flow(node, op, maps)
        if any(name in self._taken for name in outputs):
            flow = replace(flow, outputs=tuple(map(self._with_content, outputs, flow.outputs)))
        for left, right in flow.ties:
            self._classes.unite(left, right)
        for name, found in zip(outputs, flow.outputs, strict=True):
            if found is not None and name:
                self._maps[name] = found
        self.steps.append(Step(node, op, rule, tuple(names), outputs, maps, flow))

    def _with_content(self, name: str, found: ChannelMap | None) -> ChannelMap | None:
        if found is None or name not in self._taken:
            return found
        state = self._taken[name]
        return found.with_state(state if state.shape == found.shape else np.full(found.shape, WILD))

    def _flow(self, node: Node, op: Op, maps: tuple[ChannelMap | None, ...]) -> tuple[Rule, Flow]:
        if all(tensor.name in self._constants for tensor in node.outputs):
            known = (self._rule_of_shape(node, op) if node.op == "Shape" else None) or BARRIER
            return known, replace(known.flow(op, maps, self._classes.fresh), outputs=(None,) * len(node.outputs))
        rule, reason = self._rule(node, op)
        if rule is None:
            if reason is not None:
                self._refuse(op, reason, "")
            flow = BARRIER.flow(op, maps, self._classes.fresh)
            if reason is Reason.NOT_SHOWN_EQUAL and op.op_type in FRAGILE:
                flow = replace(flow, outputs=tuple(_wild(found) for found in flow.outputs))
            return BARRIER, flow
        try:
            if not rule.merged_axes and any(found is not None and found.merged is not None for found in maps):
                raise Refused(Reason.DYNAMIC_AXIS, "channels are merged with a dynamic axis")
            if not rule.places and any(found is not None and found.places is not None for found in maps):
                raise Refused(Reason.UNSUPPORTED_FORM, "the places of maxima are read, counted over all channels")
            flow = moved(op, maps, completed(op, rule.flow(op, maps, self._classes.fresh)))
            check_outputs(op, flow)
            self._room.take(flow)
            return rule, self._with_parameters(rule, op, maps, flow)
        except Refused as refused:
            self._refuse(op, refused.reason, refused.detail)
        except Exception as error:
            fault = fault_of(node, self._graph, self._shapes, self._constants)
            if fault is None:
                raise InternalError(f"the rule of {op.op_type} failed on node '{op.name}': {error!r}") from error
            self._refuse(op, Reason.UNSUPPORTED_FORM, f"the node contradicts its operator: {fault}")
        return BARRIER, BARRIER.flow(op, maps, self._classes.fresh)

    def _rule(self, node: Node, op: Op) -> tuple[Rule | None, Reason | None]:
        if any(isinstance(value, Graph) for value in node.attrs.values()):
            return None, Reason.CONTROL_FLOW
        rule = rule_for(op.domain, op.op_type, op.opset)
        if rule is None and node.domain not in STANDARD_DOMAINS:
            return None, Reason.CUSTOM_DOMAIN
        if any(tensor.name in self._alone for tensor in node.outputs):
            return None, Reason.NOT_SHOWN_EQUAL
        if rule is None and node.op == "Shape" and (known := self._rule_of_shape(node, op)) is not None:
            return known, None
        if any(self._constants.shape_value(name.name) is not None for name in node.outputs):
            return None, None
        return rule, None if rule is not None else Reason.UNKNOWN_OPERATOR

    def _rule_of_shape(self, node: Node, op: Op) -> Rule | None:
        found = self._maps.get(node.inputs[0].name)
        if self._sizes.reads_no_channel(node, found):
            return SHAPE
        return STATED_SHAPE if can_state(op.opset, op.attrs, found, op.in_dims[0]) else None

    def _with_parameters(self, rule: Rule, op: Op, maps: tuple[ChannelMap | None, ...], flow: Flow) -> Flow:
        if rule.data_inputs is None:
            return flow
        behind = [found for found in maps[rule.data_inputs :] if found is not None]
        if not behind:
            return flow
        reads = tuple(Read(rule.data_inputs, found.labels.ravel()) for found in behind)
        return replace(flow, reads=flow.reads + reads, fixed=flow.fixed + tuple(found.labels for found in behind))

    def _refuse(self, op: Op, reason: Reason, detail: str) -> None:
        self._refusals.append(Refusal(op.name, op.op_type, reason, detail))

    def finish(self) -> Analysis:
        roots = self._classes.roots()
        maps = {name: found.resolved(roots) for name, found in self._maps.items()}
        steps = tuple(step.resolved(roots, maps) for step in self.steps)
        live, fixed = np.zeros(len(roots), bool), np.zeros(len(roots), bool)
        for tensor in (*self._graph.inputs, *self._graph.outputs):
            found = maps.get(tensor.name)
            if found is not None:
                live[found.labels] = True
                fixed[found.labels] = True
        for step in steps:
            for labels in step.flow.fixed:
                fixed[labels] = True
        live, kept, needed = demand(steps, live, live, self._outputs)
        return Analysis(
            steps, maps, live, kept, fixed, tuple(needed), tuple(self._refusals), self._constants,
            tuple(tensor.name for tensor in self._graph.inputs), self._outputs, self._opset, self._alone,
        )  # fmt: skip


def _wild(found: ChannelMap | None) -> ChannelMap | None:
    return None if found is None else found.with_state(np.full(found.shape, WILD))
