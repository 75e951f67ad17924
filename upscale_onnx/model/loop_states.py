"""Shapes of the values that a Loop hands on from round to round. They may change, so ONNX's inference leaves them open.

A value is taken to keep the shape that it has at the start. If inference then finds this shape for what the body hands
on, it is the shape in every round. Otherwise nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from onnx import GraphProto, NodeProto, ValueInfoProto, helper

from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.protos import inner_graphs, node_graphs
from upscale_onnx.types import Dims

_COUNTERS = 2  # the number of rounds and the condition


class _Shape(Protocol):
    @property
    def dtype(self) -> int: ...
    @property
    def dims(self) -> Dims: ...


@dataclass(frozen=True, eq=False)
class _State:
    """A carried value: the initial value, the input of the body, what the body hands on, and the result."""

    initial: str
    handed: ValueInfoProto
    returned: str
    result: str

    def is_kept(self, shapes: Mapping[str, _Shape]) -> bool:
        """Whether all rounds have the shape of the first."""
        names = self.initial, self.handed.name, self.returned
        found = [shapes[name].dims for name in names if name in shapes]
        return len(found) == len(names) and found[0] == found[1] == found[2] and None not in found[0]


class LoopStates:
    """The carried values of all Loops in `graph`. Its bodies get declarations of what is assumed about them."""

    def __init__(self, graph: GraphProto) -> None:
        self._graph = graph
        self._open = {state.handed.name for state in _states(graph) if not _has_shape(state.handed)}
        self._assumed: set[str] = set()

    def settle(self, shapes: Mapping[str, _Shape], last: bool) -> bool:
        """Take back what was assumed and is not confirmed by `shapes`, the inferred ones; else assume more. Returns
        whether anything changed.

        last: whether everything is taken back.
        """
        if not self._open and not self._assumed:
            return False
        states = {state.handed.name: state for state in _states(self._graph)}
        wrong = {name for name in self._assumed if last or not states[name].is_kept(shapes)}
        for name in wrong:
            states[name].handed.type.tensor_type.ClearField("shape")
        self._assumed -= wrong
        more = set() if wrong or last else {name for name in self._open if states[name].initial in shapes}
        for name in more:
            known = shapes[states[name].initial]
            states[name].handed.CopyFrom(helper.make_tensor_value_info(name, known.dtype, known.dims))
        self._assumed |= more
        self._open -= more
        return bool(wrong or more)

    def results(self, shapes: Mapping[str, _Shape]) -> Iterator[ValueInfoProto]:
        """Declarations of results that keep their shape, as far as `shapes` does not hold them."""
        for state in _states(self._graph):
            if state.result and state.result not in shapes and state.is_kept(shapes):
                known = shapes[state.initial]
                yield helper.make_tensor_value_info(state.result, known.dtype, known.dims)


def _states(graph: GraphProto) -> Iterator[_State]:
    for part in (graph, *inner_graphs(graph)):
        for node in part.node:
            if node.op_type != "Loop" or node.domain not in STANDARD_DOMAINS:
                continue
            bodies = node_graphs(node)
            if len(bodies) == 1:
                yield from _of_loop(node, bodies[0])


def _of_loop(node: NodeProto, body: GraphProto) -> Iterator[_State]:
    returned = [value.name for value in body.output][1:]
    rows = zip(node.input[_COUNTERS:], body.input[_COUNTERS:], returned, node.output, strict=False)
    yield from (_State(*row) for row in rows if all(row[:1]))


def _has_shape(value: ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.HasField("shape")) or not value.type.HasField("tensor_type")
