"""The role of an input's numbers in a graph: they are indices, sizes, or data to compute with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from onnx import ModelProto, NodeProto

from upscale_onnx.model import Shape
from upscale_onnx.model.operators import COPIES, SIZES, VIEWS
from upscale_onnx.model.protos import iter_nodes
from upscale_onnx.types import Dim

# Per operator: the position of an input that holds indices -> the position of the input that they point into.
_INDICES: dict[str, dict[int, int]] = {
    "Gather": {1: 0},
    "GatherElements": {1: 0},
    "GatherND": {1: 0},
    "GatherBlockQuantized": {1: 0},
    "EmbedLayerNormalization": {0: 2, 1: 4, 8: 3},
    "RotaryEmbedding": {3: 1},
    "com.microsoft.RotaryEmbedding": {1: 2},
    "GroupQueryAttention": {9: 7},
}
# Per operator: the position of an input that sets the size of the result -> the kind of value that is harmless there:
# the shape of the first input ("extent": or larger), a factor per axis, a margin, or a single number.
_SIZES: dict[str, dict[int, str]] = {
    "Resize": {2: "factor", 3: "extent"},
    "Upsample": {1: "factor"},
    "Reshape": {1: "shape"},
    "Expand": {1: "shape"},
    "Tile": {1: "factor"},
    "Pad": {1: "margin"},
    "CenterCropPad": {1: "shape"},
    "ConstantOfShape": {0: "number"},
    "Range": {0: "start", 1: "number", 2: "number"},
    "OneHot": {1: "number"},
    "TopK": {1: "number"},
    "AffineGrid": {1: "number"},
    "Col2Im": {1: "number", 2: "number"},
    "MaxUnpool": {2: "shape"},
    "Loop": {0: "number"},
    "BlackmanWindow": {0: "number"},
    "HammingWindow": {0: "number"},
    "HannWindow": {0: "number"},
    "GroupQueryAttention": {5: "number", 6: "number"},
    "MelWeightMatrix": {0: "number", 1: "number", 2: "number", 3: "number", 4: "number"},
}
_Entry = TypeVar("_Entry")
# These operators pass on the values of their first input unchanged.
_MOVES = VIEWS | COPIES | {"Cast", "Expand", "Tile", "Transpose"}


@dataclass(frozen=True)
class InputRole:
    """The role of the values of one input.

    below: if they are indices, one more than the largest legal index.
    size: if they are sizes, the kind of size (see `_SIZES`).
    like: the dimensions of the value that is resized, if they are known.
    """

    below: int | None = None
    size: str | None = None
    like: tuple[Dim, ...] | None = None


def input_roles(model: ModelProto, names: frozenset[str], shapes: Mapping[str, Shape]) -> dict[str, InputRole]:
    """The roles of those inputs among `names` that are indices or sizes."""
    # Per value, the inputs that it depends on: it holds their numbers as they are (True) or is computed from them.
    carried: dict[str, dict[str, bool]] = {name: {name: True} for name in names}
    below: defaultdict[str, list[int]] = defaultdict(list)
    sizes: dict[str, InputRole] = {}
    for node in iter_nodes(model.graph):
        found: dict[str, bool] = {}
        for position, value in enumerate(node.input):
            for name, as_is in carried.get(value, {}).items():
                bound = _vocabulary(node, position, shapes)
                size = _of(_SIZES, node).get(position)
                if bound is not None and as_is:
                    below[name].append(bound)
                if size is not None:
                    like = shapes.get(node.input[0])
                    sizes[name] = InputRole(
                        size=size if as_is else "number", like=like.dims if like and as_is else None
                    )
                if position not in _of(_INDICES, node) and node.op_type not in SIZES:
                    found[name] = found.get(name, True) and as_is and node.op_type in _MOVES
        for value in node.output:
            carried[value] = found
    return sizes | {name: InputRole(below=min(bounds)) for name, bounds in below.items() if name not in sizes}


def _of(table: Mapping[str, Mapping[int, _Entry]], node: NodeProto) -> Mapping[int, _Entry]:
    """The entry of a node's operator; that of its domain comes first."""
    return table.get(f"{node.domain}.{node.op_type}", table.get(node.op_type, {}))


def _vocabulary(node: NodeProto, position: int, shapes: Mapping[str, Shape]) -> int | None:
    """How many entries an index in the input at `position` may point to; None if that input holds no indices."""
    table = _of(_INDICES, node).get(position)
    shape = shapes.get(node.input[table]) if table is not None and table < len(node.input) else None
    given = {attribute.name: attribute.i for attribute in node.attribute}
    first, count = given.get("axis", 0), 1
    if node.op_type == "GatherND":  # its indices name several axes
        indices = shapes.get(node.input[position])
        depth = indices.dims[-1] if indices is not None and indices.rank else None
        first, count = given.get("batch_dims", 0), depth if isinstance(depth, int) else 0
    if shape is None or not count or not -shape.rank <= first < shape.rank:
        return None
    first %= shape.rank
    sizes = [size for size in shape.dims[first : first + count] if isinstance(size, int) and size > 0]
    return min(sizes) if len(sizes) == count else None
