"""Properties of a graph that hold between all passes. Passes that ensure more define the property in their module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from upscale_onnx.model.edit import reads
from upscale_onnx.passes.rewrite import Rewrite


@dataclass(frozen=True)
class Property:
    """A property that a graph may have between passes. problem: returns why the graph lacks it, "" where it has it."""

    name: str
    problem: Callable[[Rewrite], str]


def _unsorted(rewrite: Rewrite) -> str:
    pending = set(_made(rewrite))
    for node in rewrite.graph.nodes:
        late = next((name for name in reads(node) if name in pending), None)
        if late is not None:
            return f"node '{node.name}' reads '{late}', which a later node computes"
        pending.difference_update(value.name for value in node.outputs)
    return ""


def _ambiguous(rewrite: Rewrite) -> str:
    twice = [name for name, count in Counter(_made(rewrite)).items() if count > 1]
    known: dict[str, gs.Tensor] = {}
    for value in (value for node in rewrite.graph.nodes for value in (*node.outputs, *node.inputs) if value.name):
        if known.setdefault(value.name, value) is not value:
            twice.append(value.name)
    if twice:
        return f"two values are called '{twice[0]}'"
    nodes = Counter(node.name for node in rewrite.graph.nodes if node.name)
    return next((f"two nodes are called '{name}'" for name, count in nodes.items() if count > 1), "")


def _cut(rewrite: Rewrite) -> str:
    made = set(_made(rewrite))
    lost = next((name for name, shape in rewrite.done.shapes.items() if shape is None and name in made), None)
    return "" if lost is None else f"'{lost}' has lost channels"


def _made(rewrite: Rewrite) -> list[str]:
    return [value.name for node in rewrite.graph.nodes for value in node.outputs if value.name]


SORTED = Property("every node stands behind those that compute what it reads", _unsorted)
UNAMBIGUOUS = Property("no two values have the same name, and no two nodes", _ambiguous)
WHOLE = Property("every value holds all of its channels, so that the graph can be analysed", _cut)

SOUND = (SORTED, UNAMBIGUOUS)
