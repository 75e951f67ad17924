"""Ratios of Dropout where connections are pruned."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx

from upscale_onnx.masks.mask_model import weight_array
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.model.contractions import node_layout
from upscale_onnx.model.operators import CONTRACTIONS


def kept_of_dropout(before: onnx.ModelProto, now: onnx.ModelProto) -> dict[str, float]:
    """By the output of each Dropout node, sqrt(C_now / C_before): C is the number of connections, entries that are not
    zero, of the layer that reads it.

    Source: Han et al., NIPS 2015, equation 8.
    """
    old, new = constant_tensors(before), constant_tensors(now)
    found = {}
    for node in before.graph.node:
        if node.op_type == "Dropout":
            weight = _next_weight(before.graph, node.output[0], old)
            if weight is not None:
                left, all_ = (int(np.count_nonzero(weight_array(tensors[weight]))) for tensors in (new, old))
                found[node.output[0]] = math.sqrt(left / max(all_, 1))
    return found


def _next_weight(graph: onnx.GraphProto, value: str, tensors: Mapping[str, onnx.TensorProto]) -> str | None:
    behind = {value}
    for node in graph.node:
        if behind.isdisjoint(node.input):
            continue
        if node.op_type in CONTRACTIONS:
            for position, name in enumerate(node.input[:2]):
                if name in tensors and node_layout(node, len(tensors[name].dims), position) is not None:
                    return str(name)
            return None
        behind.update(node.output)
    return None
