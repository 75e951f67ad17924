"""Replace sequences by their elements, where it is known how many there are and which one is read.

Rules follow tensors. Behind this pass, what SequenceAt reads is the element itself, ConcatFromSequence is a Concat, and
SplitToSequence a Split. What OptionalGetElement reads of an Optional is the value in it.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.model import Shape
from upscale_onnx.model.known import Constants
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, constant, disconnect, replace_nodes
from upscale_onnx.passes.rewrite import Rewrite

_MAKERS = frozenset(
    {"Optional", "SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SplitToSequence"}
)
_READERS = frozenset({"SequenceAt", "ConcatFromSequence", "OptionalGetElement"})
# The opset since which Split and Unsqueeze are told sizes and axes by an input.
_BY_INPUTS = 13
# A sequence of more elements is left as it is.
_LONGEST = 256


@dataclass(frozen=True)
class OpenSequences(Pass):
    """Replaces what reads known elements of sequences."""

    purpose: ClassVar = "readers of sequences read the elements themselves"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        graph = rewrite.graph
        if not any(node.op in _READERS for node in graph.nodes):
            return Changes()
        opened = _Opened(Names(graph), rewrite.analysis.constants, rewrite.shapes, rewrite.analysis.opset)
        edits = 0
        for node in graph.nodes:
            if (node.domain or "") not in STANDARD_DOMAINS or not node.outputs:
                continue
            if node.op in _MAKERS:
                found = opened.elements_of(node)
                if found is not None and len(found) <= _LONGEST:
                    opened.elements[node.outputs[0].name] = found
            elif node.op in _READERS:
                edits += opened.read(node)
        opened.place_splits()
        replace_nodes(graph, opened.instead)
        return Changes(edits, opened.made)


@dataclass
class _Opened:
    """The sequences whose elements are known. instead: by a node's id, the nodes that take its place. splits: the
    Split that makes the elements of each SplitToSequence."""

    names: Names
    constants: Constants
    shapes: Mapping[str, Shape]
    opset: int
    elements: dict[str, list[gs.Tensor]] = field(default_factory=dict)
    instead: dict[int, list[gs.Node]] = field(default_factory=dict)
    splits: list[tuple[gs.Node, gs.Node]] = field(default_factory=list)
    made: MutableMapping[str, Shape | None] = field(default_factory=dict)

    def elements_of(self, node: gs.Node) -> list[gs.Tensor] | None:
        """The elements of the sequence that `node` makes; None where they are not known."""
        if node.op in ("SequenceConstruct", "Optional"):
            return list(node.inputs)
        if node.op == "SequenceEmpty":
            return []
        if node.op == "SplitToSequence":
            return self._split(node)
        given = self.elements.get(node.inputs[0].name)
        if given is None:
            return None
        found = list(given)
        inserts = node.op == "SequenceInsert"
        slot = 2 if inserts else 1
        at: int | None = len(found) if inserts else len(found) - 1
        if len(node.inputs) > slot and node.inputs[slot].name:
            at = self._position(node.inputs[slot], len(found), inserts)
        if at is None or at < 0:
            return None
        if inserts:
            found.insert(at, node.inputs[1])
        else:
            del found[at]
        return found

    def read(self, node: gs.Node) -> bool:
        """Make a reader of a known sequence read its elements. Returns whether it was changed."""
        found = self.elements.get(node.inputs[0].name)
        if not found:
            return False
        if node.op == "SequenceAt":
            at = self._position(node.inputs[1], len(found), False)
            if at is None:
                return False
            node.op, node.inputs = "Identity", [found[at]]
            return True
        if node.op == "OptionalGetElement":
            node.op, node.inputs = "Identity", found
            return True
        axis, new = int(node.attrs["axis"]), bool(node.attrs.get("new_axis", 0))
        before: list[gs.Node] = []
        parts = [self._unsqueezed(part, axis, before) for part in found] if new else found
        self.instead[id(node)] = [*self.instead.get(id(node), ()), *before, node]
        node.op, node.attrs, node.inputs = "Concat", {"axis": axis}, list(parts)
        shape = self._joined(parts, axis)
        if shape is not None:
            self.made[node.outputs[0].name] = shape
        return True

    def place_splits(self) -> None:
        """Put each Split whose results are read in front of its SplitToSequence, and let go of the others."""
        for node, split in self.splits:
            if any(result.outputs for result in split.outputs):
                self.instead[id(node)] = [split, node]
                continue
            for result in split.outputs:
                del self.made[result.name]
            disconnect(split)

    def _position(self, index: gs.Tensor, count: int, past_end: bool) -> int | None:
        """The index of an element, counted from the start; None where it is not known or there is none."""
        value = self.constants.array(index.name) if index.name in self.constants else None
        if value is None or value.size != 1:
            return None
        at = int(value.ravel()[0])
        last = count if past_end else count - 1
        return None if not -count <= at <= last else at + count if at < 0 else at

    def _split(self, node: gs.Node) -> list[gs.Tensor] | None:
        """The results of a Split that is put in front of a SplitToSequence."""
        source = node.inputs[0]
        shape = self.shapes.get(source.name)
        axis = int(node.attrs.get("axis", 0))
        told = len(node.inputs) > 1 and bool(node.inputs[1].name)
        if shape is None or not -shape.rank <= axis < shape.rank or not (told or node.attrs.get("keepdims", 1)):
            return None
        axis %= shape.rank
        size = shape.dims[axis]
        sizes = self._sizes(node.inputs[1] if told else None, size if isinstance(size, int) else None)
        if sizes is None or not 0 < len(sizes) <= _LONGEST or min(sizes) < 1:
            return None
        results = []
        for part in sizes:
            name = self.names.fresh(f"{node.outputs[0].name}_element")
            self.made[name] = shape.with_size(axis, part)
            results.append(gs.Variable(name, dtype=source.dtype))
        split = gs.Node("Split", f"{node.outputs[0].name}_split", {"axis": axis}, [source], results)
        if self.opset < _BY_INPUTS:
            split.attrs["split"] = sizes
        else:
            split.inputs.append(constant(self.names, f"{node.outputs[0].name}_sizes", np.asarray(sizes, np.int64)))
        self.splits.append((node, split))
        return list(results)

    def _sizes(self, told: gs.Tensor | None, size: int | None) -> list[int] | None:
        if told is None:
            return None if size is None else [1] * size
        value = self.constants.array(told.name) if told.name in self.constants else None
        if value is None:
            return None
        if value.ndim:
            sizes = [int(part) for part in value.ravel()]
            return sizes if size is None or sum(sizes) == size else None
        each = int(value)
        if size is None or each < 1:
            return None
        return [min(each, size - start) for start in range(0, size, each)]

    def _joined(self, parts: list[gs.Tensor], axis: int) -> Shape | None:
        """The shape of a Concat, which inference did not find for a sequence; None where a size along it is unknown."""
        shapes = [self.made.get(part.name, self.shapes.get(part.name)) for part in parts]
        known = [shape for shape in shapes if shape is not None]
        sizes = [shape.dims[axis] for shape in known]
        whole = [size for size in sizes if isinstance(size, int)]
        return known[0].with_size(axis % known[0].rank, sum(whole)) if len(whole) == len(parts) else None

    def _unsqueezed(self, part: gs.Tensor, axis: int, before: list[gs.Node]) -> gs.Tensor:
        """The element with a new axis of size 1; the node that adds it is put into `before`."""
        name = self.names.fresh(f"{part.name}_unsqueezed")
        shape = self.shapes.get(part.name, self.made.get(part.name))
        if shape is not None:
            at = axis % (shape.rank + 1)
            self.made[name] = Shape(shape.dtype, (*shape.dims[:at], 1, *shape.dims[at:]))
        out = gs.Variable(name, dtype=part.dtype)
        node = gs.Node("Unsqueeze", name, {}, [part], [out])
        if self.opset < _BY_INPUTS:
            node.attrs["axes"] = [axis]
        else:
            node.inputs.append(constant(self.names, f"{name}_axes", np.asarray([axis], np.int64)))
        before.append(node)
        return out
