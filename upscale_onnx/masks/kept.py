"""How many channels each decision of a masked model keeps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.masks.apply import used_channels
from upscale_onnx.masks.decisions import decisions
from upscale_onnx.masks.groups import agree, mask_groups, unit_names
from upscale_onnx.masks.pools import Groups
from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import Method, Side
from upscale_onnx.results import KeptChannels


def kept_channels(model: onnx.ModelProto, side: Side, method: Method = "unconstrained") -> tuple[KeptChannels, ...]:
    """How many channels of `side` the prunable weights use, in graph order. A channel is used where the weight holds a
    value other than zero. With method "constrained", layers that share channels are one decision, which keeps every
    channel, or unit of channels, that one of them uses."""
    targets = {target.weight: target for target in prunable_targets(model, side)}
    groups, names = _groups(model, side, method) if agree(model, method) else ((), {})
    classes = {weight: ids for group in groups for weight, ids in group}
    tensors = constant_tensors(model)
    used = {
        weight: used_channels(target.turned(numpy_helper.to_array(tensors[weight]), side), target.axis(side))
        for weight, target in targets.items()
    }
    found = []
    for one in decisions(tuple(targets.values()), side, groups, names):
        ids = [classes.get(weight, np.arange(used[weight].size))[used[weight]] for weight in one.weights]
        kept, first = np.unique(np.concatenate(ids)).size, targets[one.weights[0]]
        found.append(one.keeping(first.node, kept))
    return tuple(found)


def _groups(model: onnx.ModelProto, side: Side, method: Method) -> tuple[Groups, Mapping[str, str]]:
    """Weights that agree on what they keep, and what their units are called."""
    analysis = analyse(import_graph(model), infer_shapes(model))
    groups = mask_groups(analysis, model, side, method)
    return groups, unit_names(analysis, groups)
