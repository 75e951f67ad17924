"""Runs a model node by node in PyTorch, so that a loss of its outputs has gradients."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from upscale_onnx.errors import ArgumentError
from upscale_onnx.model.bodies import first_of
from upscale_onnx.model.edit import captured_names
from upscale_onnx.model.operators import DRAWS
from upscale_onnx.torch_backend import elementwise, layers, moves, quantisers, resize
from upscale_onnx.torch_backend.control_flow import FLOWS, Flow
from upscale_onnx.torch_backend.values import NoGradientError, Operator, Rule, Value, array, from_array
from upscale_onnx.types import Array

RULES: Mapping[str, Rule] = {
    **elementwise.RULES, **layers.RULES, **moves.RULES, **quantisers.RULES, **resize.RULES
}  # fmt: skip
"""Operators with gradients, by name."""

# The results of these operators are piecewise constant, or no floating-point numbers: they have no gradient.
_FLAT = frozenset(
    {"And", "ArgMax", "ArgMin", "Cast", "Ceil", "ConstantOfShape", "Equal", "Floor", "Greater", "GreaterOrEqual",
     "IsInf", "IsNaN", "Less", "LessOrEqual", "NonZero", "Not", "Or", "Round", "Sign", "Size", "Xor"}
)  # fmt: skip
_DRAWN = DRAWS | {"Multinomial"}

# What is computed of larger arrays than this is not remembered.
_REMEMBERED_BYTES = 1 << 10

Change = Callable[[str, Value, str], Value]
"""A function of the name of a value, the value, and the first output of the node that is about to read the value, or ""
if it has just been computed. It returns the value to use in its place."""


@dataclass(frozen=True)
class Step:
    """One node, and the rule that computes it; None if its bodies do, or ONNX's reference evaluator."""

    node: onnx.NodeProto
    operator: Operator
    rule: Rule | None = None
    bodies: Bodies | None = None


@dataclass(frozen=True)
class Part:
    """The main graph, or a body. first: the position of the first of `steps`; those of bodies follow all of them.
    last: by value, the position of the last step that reads it."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    first: int
    last: Mapping[str, int]

    @property
    def captured(self) -> list[str]:
        """The values of other graphs that the part reads."""
        read = {name for step in self.steps for name in step.node.input if name} | {*self.outputs}
        return sorted(read - {name for step in self.steps for name in step.node.output} - {*self.inputs})


@dataclass(frozen=True)
class Bodies:
    """The bodies of a node, by the names of their attributes, and the flow that runs them. captured: what they read of
    other graphs. The node reads it, too, behind its own inputs."""

    parts: Mapping[str, Part]
    flow: Flow
    captured: tuple[str, ...]


class TorchNetwork:
    """`model` in PyTorch. Floating-point values are tensors of the same precision; half precision becomes single.

    Names in bodies must be unique, as those of loaded models are.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
        self._constants: dict[str, Value] = {}
        self._references: dict[Hashable, Sequence[Array]] = {}
        self._count = 0
        self._main = self._part(model.graph)
        self.inputs, self.outputs, self._steps = self._main.inputs, self._main.outputs, self._main.steps

    def _part(self, graph: onnx.GraphProto) -> Part:
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        nodes = []
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                tensors[node.output[0]] = node.attribute[0].t
            else:
                nodes.append(node)
        self._constants.update((name, _value(numpy_helper.to_array(tensor))) for name, tensor in tensors.items())
        first, self._count = self._count, self._count + len(nodes)
        steps = tuple(self._step(node) for node in nodes)
        last = {name: first + i for i, step in enumerate(steps) for name in step.node.input}
        ends = ([value.name for value in values] for values in (graph.input, graph.output))
        inputs, outputs = map(tuple, ends)
        return Part(inputs, outputs, steps, first, last)

    def _step(self, node: onnx.NodeProto) -> Step:
        graphs = {attribute.name: attribute.g for attribute in node.attribute if attribute.HasField("g")}
        attributes = {a.name: _attribute(a) for a in node.attribute if a.name not in graphs}
        operator = Operator(node.op_type, attributes, self._opset, len([name for name in node.output if name]))
        flow = FLOWS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if flow is not None:
            return self._with_bodies(node, operator, flow, graphs)
        if captured_names([node]):
            raise ArgumentError(f"{_where(node)} cannot be run in PyTorch: its bodies read outer values")
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if node.op_type == "Cast" and operator.get("to") not in (1, 10, 11, 16):  # only floats have gradients
            rule = None
        return Step(node, operator, rule)

    def _with_bodies(
        self, node: onnx.NodeProto, operator: Operator, flow: Flow, graphs: Mapping[str, onnx.GraphProto]
    ) -> Step:
        parts = {name: self._part(graph) for name, graph in graphs.items()}
        captured = sorted({name for part in parts.values() for name in part.captured})
        whole = onnx.NodeProto(op_type=node.op_type, domain=node.domain, name=node.name)
        whole.input.extend([*node.input, *captured])
        whole.output.extend(node.output)
        return Step(whole, operator, bodies=Bodies(parts, flow, tuple(captured)))

    def run(
        self,
        inputs: Mapping[str, Array],
        change: Change | None = None,
        weights: Mapping[str, Value] | None = None,
    ) -> dict[str, Value]:
        """The model's outputs by name. Values that no later node reads are dropped unless gradients need them.

        inputs: arrays by name.
        change: is called with every value that is computed or read, and may replace it.
        weights: values to use in place of the constants with these names.

        Raises: ArgumentError if an operator cannot be run, or has no gradient here.
        """
        found: dict[str, Value] = {**self._constants, **(weights or {})}
        for name in self.inputs:
            if name in inputs:
                found[name] = _changed(change, name, _value(inputs[name]))
        return dict(zip(self.outputs, self._walked(self._main, found, change), strict=True))

    def _walked(self, part: Part, found: dict[str, Value], change: Change | None) -> list[Value]:
        """The outputs of a part, from the values that it is given in `found`, which are dropped when they were read."""
        for position, step in enumerate(part.steps, part.first):
            reader = first_of(step.node.output)
            read = [None if not name else _changed(change, name, found[name], reader) for name in step.node.input]
            for name, made in zip(step.node.output, self._made(step, position, read, change), strict=False):
                if name:
                    found[name] = _changed(change, name, made)
            for name in set(step.node.input):
                if part.last[name] == position and name not in part.outputs:
                    found.pop(name, None)
        return [found[name] for name in part.outputs]

    def _made(
        self, step: Step, position: int, given: Sequence[Value | None], change: Change | None = None
    ) -> Iterator[Value]:
        tensors = [value for value in given if isinstance(value, torch.Tensor)]
        rule = step.rule if tensors else None
        if step.bodies is not None:
            rule = partial(self._run_bodies, step.bodies, change)
        if rule is not None:
            while given and given[-1] is None and step.bodies is None:
                given = given[:-1]
            try:
                made = rule(step.operator, *given)
            except (RuntimeError, TypeError, ValueError, IndexError) as error:
                raise ArgumentError(f"{_where(step.node)} cannot be run in PyTorch: {_line(error)}") from error
            yield from made if isinstance(made, tuple | list) else (made,)
            return
        if step.node.op_type not in _FLAT and any(value.requires_grad for value in tensors):
            raise NoGradientError(f"{_where(step.node)} has no gradient here")
        sizes = sum(value.nbytes for value in given if isinstance(value, np.ndarray))
        if tensors or sizes > _REMEMBERED_BYTES or step.node.op_type in _DRAWN:
            yield from map(_value, self._reference(step, given))
            return
        # Arithmetic of shapes, which is the same for every batch of one size.
        key = (position, *(None if value is None else (value.shape, array(value).tobytes()) for value in given))
        if key not in self._references:
            self._references[key] = self._reference(step, given)
        yield from map(_value, self._references[key])

    def _run_bodies(
        self, bodies: Bodies, change: Change | None, operator: Operator, *given: Value | None
    ) -> list[Value]:
        own = len(given) - len(bodies.captured)
        outer = {name: value for name, value in zip(bodies.captured, given[own:], strict=True) if value is not None}

        def returned(part: Part, *values: Value) -> list[Value]:
            handed = {name: _changed(change, name, value) for name, value in zip(part.inputs, values, strict=True)}
            return self._walked(part, {**outer, **handed}, change)

        runs = {name: partial(returned, part) for name, part in bodies.parts.items()}
        return bodies.flow(operator, given[:own], runs)

    def _reference(self, step: Step, given: Sequence[Value | None]) -> Sequence[Array]:
        """The outputs of a node without gradients, such as one of shapes, computed by ONNX's reference evaluator."""
        node = step.node
        feeds = {n: array(v) for n, v in zip(node.input, given, strict=True) if v is not None}
        opsets = {"": self._opset, node.domain: self._opset if node.domain in ("", "ai.onnx") else 1}
        # The evaluator takes a single node to be of the newest operator set, so the node is put into a graph.
        part = onnx.GraphProto(name="part", node=[node])
        part.input.extend(onnx.ValueInfoProto(name=name) for name in feeds)
        part.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
        try:
            made = ReferenceEvaluator(part, opsets=opsets).run(None, feeds)
        except Exception as error:  # any exception of the evaluator's operators
            raise ArgumentError(f"{_where(step.node)} cannot be run: {_line(error)}") from error
        return [np.asarray(value) for value in made]


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if attribute.ints or attribute.floats else value


def _value(value: Array) -> Value:
    if value.dtype.kind == "f" or str(value.dtype) == "bfloat16":
        return from_array(value)
    return value


def _changed(change: Change | None, name: str, value: Value, reader: str = "") -> Value:
    return value if change is None else change(name, value, reader)


def _where(node: onnx.NodeProto) -> str:
    domain = f"{node.domain}." if node.domain else ""
    return f"{domain}{node.op_type} {node.name or node.output[0]!r}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
