"""Merge selections: no-ops are removed, equal ones become one, a Gather of a Gather becomes one Gather."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.model import Shape, set_input
from upscale_onnx.model.content import is_sparse
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, constant, pinned_names, replace_uses
from upscale_onnx.passes.properties import Property
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.types import Array, Dim

# Exporters write this or a larger number for "to the end".
_OPEN_END = 2**31 - 1
_LONGEST_INDEX = 1 << 20


def _excess(rewrite: Rewrite) -> str:
    pinned, seen = pinned_names(rewrite.graph), set[tuple[object, ...]]()
    for node in filter(_is_selection, rewrite.graph.nodes):
        name, key = node.outputs[0].name, _key(node)
        if node.outputs[0].outputs and name not in pinned and (key in seen or _is_noop(node, rewrite.shapes)):
            return f"selection '{name}' takes everything, or is equal to another"
        seen.add(key)
    return ""


NO_EXCESS = Property("no selection takes everything, or the same as another", _excess)


@dataclass(frozen=True)
class MergeSelections(Pass):
    """Merges Identity nodes, and Slice and Gather nodes with constant indices along any axis."""

    purpose: ClassVar = "selections that take everything are removed; equal and consecutive ones become one"
    requires: ClassVar = ()
    ensures: ClassVar = (NO_EXCESS,)

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph. Whether a selection takes everything is decided by the shape of its input."""
        graph = rewrite.graph
        nodes = [node for node in graph.nodes if _is_selection(node)]
        if not nodes and not any(node.op == "Split" for node in graph.nodes):
            return Changes()
        names = Names(graph)
        first: dict[tuple[object, ...], gs.Tensor] = {}
        changed = 0
        for node in nodes:
            changed += _compose(node, names)
            target = node.outputs[0]
            same = node.inputs[0] if _is_noop(node, rewrite.shapes) else first.setdefault(_key(node), target)
            if same is target:
                continue
            if target.name in names.pinned:
                changed += _hand_through(node, same)
            elif target.outputs:
                replace_uses(target, same)
                changed += 1
        return Changes(changed + _merge_splits(graph, names))


def _is_noop(node: gs.Node, shapes: Mapping[str, Shape]) -> bool:
    if node.op == "Identity":
        return True
    shape = shapes.get(node.inputs[0].name)
    if shape is None:
        return False
    if node.op == "Gather":
        axis, index = int(node.attrs.get("axis", 0)), _values(node.inputs[1])
        return -shape.rank <= axis < shape.rank and _is_range(index, shape.dims[axis])
    return _takes_all(node, shape)


def _merge_splits(graph: gs.Graph, names: Names) -> int:
    """Make the readers of a Split read an equal Split in front of it, where there is one. Returns the number merged."""
    first: dict[tuple[object, ...], gs.Node] = {}
    merged = 0
    for node in graph.nodes:
        if node.op != "Split" or not _has_constant_parameters(node):
            continue
        same = first.setdefault((*_key(node), len(node.outputs)), node)
        read = any(tensor.outputs for tensor in node.outputs)
        if same is node or not read or any(tensor.name in names.pinned for tensor in node.outputs):
            continue
        if not all(tensor.name for tensor in same.outputs):
            continue
        for old, new in zip(node.outputs, same.outputs, strict=True):
            replace_uses(old, new)
        merged += 1
    return merged


def _hand_through(node: gs.Node, value: gs.Tensor) -> int:
    """Make `node`, whose output must keep its name, an Identity of `value`. Returns 0 where it is one, else 1."""
    if node.op == "Identity":
        return 0
    node.op, node.attrs, node.inputs = "Identity", {}, [value]
    return 1


def _is_selection(node: gs.Node) -> bool:
    if node.domain not in (None, "", "ai.onnx") or len(node.outputs) != 1 or not node.inputs:
        return False
    if node.op == "Identity":
        return isinstance(node.inputs[0], gs.Variable) and node.inputs[0].name != ""
    return node.op in ("Slice", "Gather") and len(node.inputs) > 1 and _has_constant_parameters(node)


def _has_constant_parameters(node: gs.Node) -> bool:
    if node.domain not in (None, "", "ai.onnx") or not node.inputs or not isinstance(node.inputs[0], gs.Variable):
        return False
    return all(_is_dense(tensor) or not tensor.name for tensor in node.inputs[1:])


def _is_dense(tensor: gs.Tensor) -> bool:
    """Whether `tensor` is a constant that stores all its values. Sparse constants may stand for any number of zeros."""
    return isinstance(tensor, gs.Constant) and not is_sparse(tensor)


def _values(tensor: gs.Tensor) -> Array:
    values: Array = tensor.values
    return values


def _key(node: gs.Node) -> tuple[object, ...]:
    """A key that is equal for nodes that compute the same."""
    rest = [(_values(t).dtype.str, _values(t).shape, _values(t).tobytes()) if t.name else () for t in node.inputs[1:]]
    return (node.op, node.inputs[0].name, repr(sorted(node.attrs.items())), *rest)


def _compose(node: gs.Node, names: Names) -> int:
    """Make a Gather of a Gather along the same axis read the first value. Returns 1 where that is done, else 0."""
    inner = node.inputs[0].inputs[0] if node.inputs[0].inputs else None
    if inner is None or inner.op != "Gather" or node.op != "Gather" or not _is_selection(inner):
        return 0
    outer_index, inner_index = _values(node.inputs[1]), _values(inner.inputs[1])
    # The inner Gather, by a vector, keeps the rank: equal attributes mean the same axis, negative ones too.
    if node.attrs.get("axis", 0) != inner.attrs.get("axis", 0) or inner_index.ndim != 1 or outer_index.ndim > 1:
        return 0
    inside = ((-inner_index.size <= outer_index) & (outer_index < inner_index.size)).all()
    if inner_index.size > _LONGEST_INDEX or not inside:
        return 0
    index = np.asarray(inner_index[outer_index])
    set_input(node, 1, constant(names, f"{node.outputs[0].name}_indices", index))
    set_input(node, 0, inner.inputs[0])
    return 1


def _is_range(index: Array, size: Dim) -> bool:
    return index.ndim == 1 and index.size == size and bool((index % index.size == np.arange(index.size)).all())


def _takes_all(node: gs.Node, shape: Shape) -> bool:
    """Whether a Slice of a value of `shape` takes everything, in order."""
    starts, ends, *rest = ([int(v) for v in _values(t).ravel()] if t.name else None for t in node.inputs[1:])
    if starts is None or ends is None:
        return False
    axes = rest[0] if rest and rest[0] is not None else list(range(len(starts)))
    steps = rest[1] if len(rest) > 1 and rest[1] is not None else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or any(not -shape.rank <= a < shape.rank for a in axes):
        return False
    return all(
        _is_whole(start, end, step, shape.dims[axis])
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
    )


def _is_whole(start: int, end: int, step: int, size: Dim) -> bool:
    if isinstance(size, int):
        # With a single index, any step takes everything.
        return step != 0 and range(size)[start:end:step] == range(size)
    return step == 1 and start == 0 and end >= _OPEN_END
