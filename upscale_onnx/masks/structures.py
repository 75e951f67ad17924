"""The structure of a layer, which does not depend on its width. Layers of one structure do the same work in the same
kind of place.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping
from typing import TypeAlias

import onnx

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.masks.targets import mask_targets
from upscale_onnx.options import Side
from upscale_onnx.results import Segment
from upscale_onnx.segments import find_segments

# Operator, sizes of the weight's axes that are no channels, and kind of grouping.
_Kind: TypeAlias = tuple[str, tuple[int, ...], str]


def structures(analysis: Analysis, model: onnx.ModelProto, side: Side) -> dict[str, Hashable]:
    """The structure of each weight: the kind of its node, and of the nodes that create, carry and read the channels
    of `side`.


    The nodes are compared as a multiset, without the edges between them: layers of isomorphic sub-graphs have
    equal structures. In the graphs of real networks, other layers have different ones.

    Source: Fang et al., "Isomorphic Pruning for Vision Models", ECCV 2024, sec. 3.3.
    """
    kinds = {target.node: target.kind for target in mask_targets(model)}
    names = {target.node: target.weight for target in mask_targets(model) if target.axis(side) is not None}
    types: dict[str, list[str]] = defaultdict(list)
    for step in analysis.steps:
        types[step.op.name].append(step.op.op_type)
    found: dict[str, Hashable] = {}
    for segment in find_segments(analysis):
        around = _around(segment, kinds, types)
        for part in segment.consumers if side == "input" else segment.producers:
            if part.node in names:
                found.setdefault(names[part.node], (kinds[part.node], around))
    return found


def _around(segment: Segment, kinds: Mapping[str, _Kind], types: Mapping[str, list[str]]) -> Hashable:
    roles = [("producer", part.node, part.op_type) for part in segment.producers]
    roles += [("consumer", part.node, part.op_type) for part in segment.consumers]
    roles += [("carrier", node, "/".join(types[node])) for node in segment.carriers]
    counted = Counter((role, kinds.get(node, (op_type, (), ""))) for role, node, op_type in roles)
    return tuple(sorted(counted.items()))
