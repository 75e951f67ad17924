"""Names that shape inference made up for sizes which are the same.

Inference makes up a name for each size that it cannot compute, such as that of a sum of two values whose sizes have
other names. Exporters compute masks and shapes from sizes of one value, so that many of these names mean the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce

from onnx import GraphProto, NodeProto

from upscale_onnx.model.known import Constants
from upscale_onnx.model.operators import BROADCASTING, STANDARD_DOMAINS
from upscale_onnx.model.shape_folding import expanded, known_after, reshaped
from upscale_onnx.model.size_products import parts, product, without_common_factors
from upscale_onnx.types import Dim, Dims

MADE_UP = "unk__"


def with_equal_names(graph: GraphProto, dims: Mapping[str, Dims], opset: int) -> dict[str, Dims]:
    """The dimensions of the values of `graph`, where made-up names of equal sizes are the same, and numbers where these
    are known."""
    found = dict(dims)
    names = _Names()
    for node, known in known_after(graph, found, opset):
        inputs = [names.resolved(found.get(name)) for name in node.input]
        names.unite_all(_needed(node, inputs))
        computed = _computed(node, [names.resolved(part) for part in inputs], names, known)
        stated = found.get(node.output[0]) if node.output else None
        if computed is not None and stated is not None and len(computed) == len(stated):
            names.unite_all(zip(stated, computed, strict=True))
            found[node.output[0]] = tuple(b if a is None else a for a, b in zip(stated, computed, strict=True))
        # What is known of sizes behind this node is told by these.
        found.update({name: names.resolved(found[name]) or () for name in node.output if name in found})
    return {name: names.resolved(part) or () for name, part in found.items()}


class _Names:
    """What made-up names are known to stand for."""

    def __init__(self) -> None:
        self._meaning: dict[Dim, Dim] = {}

    def find(self, dim: Dim) -> Dim:
        """The number, or the name of all sizes that are equal."""
        while dim in self._meaning:
            dim = self._meaning[dim]
        factors = parts(dim)
        return dim if len(factors) == 1 else product(map(self.find, factors))

    def resolved(self, dims: Dims | None) -> Dims | None:
        """The dimensions with each name replaced by what it stands for."""
        return None if dims is None else tuple(map(self.find, dims))

    def unite_all(self, pairs: Iterator[tuple[Dim, Dim]]) -> None:
        """Take the sizes of each pair as equal. Names that the model gives are not replaced."""
        for pair in pairs:
            left, right = without_common_factors(*map(self.find, pair))
            if left is None or right is None or left == right:
                continue
            if _is_made_up(left):
                self._meaning[left] = right
            elif _is_made_up(right):
                self._meaning[right] = left


def _is_made_up(dim: Dim) -> bool:
    return isinstance(dim, str) and dim.startswith(MADE_UP)


def _needed(node: NodeProto, inputs: Sequence[Dims | None]) -> Iterator[tuple[Dim, Dim]]:
    """Sizes of two inputs that are equal, since the node would fail otherwise."""
    if node.domain not in STANDARD_DOMAINS:
        return
    if node.op_type == "MatMul" and len(inputs) == 2:
        left, right = inputs
        if left and right:
            yield left[-1], right[-2 if len(right) > 1 else -1]
    if node.op_type == "Concat":
        yield from _beside_the_axis(node, inputs)


def _beside_the_axis(node: NodeProto, parts: Sequence[Dims | None]) -> Iterator[tuple[Dim, Dim]]:
    """The sizes of the first operand of a Concat and of each other one, along all axes but the joined one."""
    axis = next((attr.i for attr in node.attribute if attr.name == "axis"), 0)
    given = [dims for dims in parts if dims is not None and len(dims) == len(parts[0] or ())]
    for dims in given[1:]:
        for place, pair in enumerate(zip(given[0], dims, strict=True)):
            if place != axis % len(dims):
                yield pair


def _computed(node: NodeProto, inputs: Sequence[Dims | None], names: _Names, known: Constants) -> Dims | None:
    """The dimensions of the first output of a node, None for sizes that do not follow from those of its inputs."""
    if node.domain not in STANDARD_DOMAINS or not inputs or inputs[0] is None:
        return None
    if node.op_type in BROADCASTING:
        return _broadcast(inputs)
    rule = _RULES.get(node.op_type)
    entries = [names.resolved(known.entries(name)) for name in node.input]
    return None if rule is None else rule(node, inputs, entries)


def _broadcast(shapes: Sequence[Dims | None]) -> Dims | None:
    given = [dims for dims in shapes if dims is not None]
    return reduce(expanded, given) if len(given) == len(shapes) else None


def _product(node: NodeProto, inputs: Sequence[Dims | None], entries: Sequence[Dims | None]) -> Dims | None:
    left, right = inputs[:2]
    if left is None or right is None or min(len(left), len(right)) < 2:
        return None
    return (*expanded(left[:-2], right[:-2]), left[-2], right[-1])


def _reshape(node: NodeProto, inputs: Sequence[Dims | None], entries: Sequence[Dims | None]) -> Dims | None:
    source, shape = inputs[0], entries[1] if len(entries) > 1 else None
    copies = not any(attr.name == "allowzero" and attr.i for attr in node.attribute)
    if source is None or shape is None or (not copies and 0 in shape):
        return None
    return reshaped(source, shape)


def _expand(node: NodeProto, inputs: Sequence[Dims | None], entries: Sequence[Dims | None]) -> Dims | None:
    source, shape = inputs[0], entries[1] if len(entries) > 1 else None
    return None if source is None or shape is None else expanded(source, shape)


def _tile(node: NodeProto, inputs: Sequence[Dims | None], entries: Sequence[Dims | None]) -> Dims | None:
    source, repeats = inputs[0], entries[1] if len(entries) > 1 else None
    if source is None or repeats is None or len(source) != len(repeats):
        return None
    return tuple(map(product, zip(source, repeats, strict=True)))


def _range(node: NodeProto, inputs: Sequence[Dims | None], entries: Sequence[Dims | None]) -> Dims | None:
    start, limit, step = (*entries, None, None, None)[:3]
    # A name stands for a size, which is not negative.
    named = limit is not None and len(limit) == 1 and not isinstance(limit[0], int)
    return limit if named and start == (0,) and step == (1,) else None


def _slice(node: NodeProto, inputs: Sequence[Dims | None], entries: Sequence[Dims | None]) -> Dims | None:
    source, axes = inputs[0], entries[3] if len(entries) > 3 else None
    if source is None or axes is None or not all(isinstance(axis, int) for axis in axes):
        return None
    cut = {int(axis or 0) % max(len(source), 1) for axis in axes}
    return tuple(None if axis in cut else dim for axis, dim in enumerate(source))


_RULES: dict[str, Callable[[NodeProto, Sequence[Dims | None], Sequence[Dims | None]], Dims | None]] = {
    "MatMul": _product,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "Slice": _slice,
}
