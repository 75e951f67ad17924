"""What a graph does with the numbers that it is fed: reads them as indices, as sizes, or computes with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from upscale_onnx.model import Shape
from upscale_onnx.model.operators import COPIES, SIZES, VIEWS
from upscale_onnx.model.protos import iter_nodes
from upscale_onnx.types import Dim

# Where an operator reads indices, and the input along whose axis they point.
_INDICES: dict[str, dict[int, int]] = {
    "Gather": {1: 0},
    "GatherElements": {1: 0},
    "EmbedLayerNormalization": {0: 2, 1: 4},
}
# Where an operator reads how large its result is, and what a harmless value is made like: the shape of its first
# input (an extent may be larger), a factor for each of its axes, a margin, or a number that stands alone.
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
    "MelWeightMatrix": {0: "number", 1: "number", 2: "number", 3: "number", 4: "number"},
}
# These hand their first input's values on as they are.
_MOVES = VIEWS | COPIES | {"Cast", "Expand", "Tile", "Transpose"}


@dataclass(frozen=True)
class Role:
    """What the values of one input are for.

    below: one more than the largest index, where they are indices; size: what they are made like where they are
    sizes; like: the dimensions of the value that is resized, where these are known.
    """

    below: int | None = None
    size: str | None = None
    like: tuple[Dim, ...] | None = None


def input_roles(model: ModelProto, names: frozenset[str], shapes: Mapping[str, Shape]) -> dict[str, Role]:
    """The roles of those inputs among `names` that are indices or sizes."""
    # What each value carries of each input: its numbers as they are (True), or something computed from them.
    carried: dict[str, dict[str, bool]] = {name: {name: True} for name in names}
    below: defaultdict[str, list[int]] = defaultdict(list)
    sizes: dict[str, Role] = {}
    for node in iter_nodes(model.graph):
        found: dict[str, bool] = {}
        for position, value in enumerate(node.input):
            for name, as_is in carried.get(value, {}).items():
                bound = _vocabulary(node, position, shapes)
                size = _SIZES.get(node.op_type, {}).get(position)
                if bound is not None and as_is:
                    below[name].append(bound)
                if size is not None:
                    like = shapes.get(node.input[0])
                    sizes[name] = Role(size=size if as_is else "number", like=like.dims if like and as_is else None)
                if position not in _INDICES.get(node.op_type, {}) and node.op_type not in SIZES:
                    found[name] = found.get(name, True) and as_is and node.op_type in _MOVES
        for value in node.output:
            carried[value] = found
    return sizes | {name: Role(below=min(bounds)) for name, bounds in below.items() if name not in sizes}


def _vocabulary(node: NodeProto, position: int, shapes: Mapping[str, Shape]) -> int | None:
    """How many entries there are that an index at `position` may point to."""
    table = _INDICES.get(node.op_type, {}).get(position)
    shape = shapes.get(node.input[table]) if table is not None and table < len(node.input) else None
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    if shape is None or not -shape.rank <= axis < shape.rank:
        return None
    size = shape.dims[axis]
    return size if isinstance(size, int) and size > 0 else None
