"""The scale that BatchNormalization nodes give to each channel of a weight."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.criteria import bn_scale
from upscale_onnx.masks.pools import Scores
from upscale_onnx.masks.targets import constant_tensors, mask_targets
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.pruning.evidence import Evidence


def bn_scores(evidence: Evidence) -> Scores:
    """One score per channel for each weight: the sum of the scales that BatchNormalization nodes give to its class.

    Weights with a channel that no BatchNormalization scales are left out, as those that read the colours of an image.
    No weight is left where the BatchNormalization nodes were folded into convolutions.

    Raises: ArgumentError where no weight is left.
    """
    model, side = evidence.model, evidence.side
    analysis, tensors = analyse(import_graph(model), infer_shapes(model)), constant_tensors(model)
    totals = np.zeros(analysis.live.size)
    scaled = np.zeros(analysis.live.size, np.bool_)
    for step in analysis.steps:
        out = step.flow.outputs[0] if step.flow.outputs else None
        if step.op.op_type != "BatchNormalization" or out is None or step.inputs[1] not in tensors:
            continue
        labels = out.labels.ravel()
        values = bn_scale.score(numpy_helper.to_array(tensors[step.inputs[1]]))
        if labels.size == values.size:
            np.add.at(totals, labels, values)
            scaled[labels] = True
    weights = {target.node: target.weight for target in mask_targets(model) if target.axis(side) is not None}
    found = {}
    for step in analysis.steps:
        flow = step.flow
        if step.op.name not in weights or (flow.dense is None and not step.is_grouped):
            continue
        made = flow.outputs[0]
        sources = np.concatenate([read.sources for read in flow.reads])
        read = sources if side == "input" else None if made is None else made.labels.ravel()
        if read is not None and scaled[read].all():
            found[weights[step.op.name]] = totals[read]
    if not found:
        raise ArgumentError(
            "criterion 'bn-scale': no layer's channels are all scaled by a BatchNormalization (they may have been "
            "folded into convolutions): use another criterion"
        )
    return found
