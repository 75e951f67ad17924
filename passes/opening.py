"""Nodes that took the place of one that no rule looks through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.passes.editing import disconnect


@dataclass(frozen=True, eq=False)
class Opening:
    """A node that is no part of the graph any more, and those in its place, which compute the same.

    inputs: what the node read. nodes: those in its place; the last makes the result. read, attrs: what each of them
    read, and its attributes, when they took the place.
    """

    node: gs.Node
    inputs: tuple[gs.Tensor, ...]
    nodes: tuple[gs.Node, ...]
    read: tuple[tuple[gs.Tensor, ...], ...]
    attrs: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, node: gs.Node, inputs: Sequence[gs.Tensor], nodes: Sequence[gs.Node]) -> Opening:
        """The opening of `node`, which read `inputs`, into `nodes`."""
        read = tuple(tuple(new.inputs) for new in nodes)
        return cls(node, tuple(inputs), tuple(nodes), read, tuple(dict(new.attrs) for new in nodes))

    def close(self) -> bool:
        """Put the node back, if those in its place still compute what it did. Returns whether that was done."""
        inputs = self._inputs()
        if inputs is None:
            return False
        results = list(self.nodes[-1].outputs)
        for node in self.nodes:
            disconnect(node)
        self.node.inputs, self.node.outputs = inputs, results
        return True

    def _inputs(self) -> list[gs.Tensor] | None:
        """What the node is to read: other values may be handed to those in its place now. None where these changed."""
        varying = {id(tensor) for tensor in self.inputs if isinstance(tensor, gs.Variable)}
        inside = {id(node) for node in self.nodes}
        given: dict[int, gs.Tensor] = {}
        for node, read, attrs in zip(self.nodes, self.read, self.attrs, strict=True):
            if node.attrs != attrs or len(node.inputs) != len(read) or not node.outputs:
                return None
            for before, now in zip(read, node.inputs, strict=True):
                if id(before) not in varying and not _is_same(before, now):
                    return None
                if id(before) in varying and given.setdefault(id(before), now) is not now:
                    return None
            if node is not self.nodes[-1] and not all(id(reader) in inside for reader in node.outputs[0].outputs):
                return None
        return [given.get(id(tensor), tensor) for tensor in self.inputs]


def _is_same(one: gs.Tensor, other: gs.Tensor) -> bool:
    if one is other:
        return True
    constants = isinstance(one, gs.Constant) and isinstance(other, gs.Constant)
    return constants and one.shape == other.shape and np.array_equal(one.values, other.values)
